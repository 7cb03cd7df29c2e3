"""Reports as the clients of flask-system-monitor do, by the libraries that they use: requests and websocket-client.

It prints one JSON object for each thing that it did.
"""

import json
import sys
import time

import requests
import websocket

url, name, key = sys.argv[1:4]


def say(**told):
    sys.stdout.write(json.dumps(told) + "\n")


answer = requests.post(f"{url}/client", json={"username": name, key: "123"}, timeout=800)
say(did="register", status=answer.status_code, body=answer.json())
client_id = answer.json()["client_id"]
now = int(time.time()) - 100

for number, header in enumerate((client_id, f"Basic {client_id}")):
    data = {"time": now + number, "cpu_load": 25.9, "mem": 6172, "storage": 95888}
    answer = requests.post(f"{url}/client/{name}", data=data, headers={"Authorization": header}, timeout=800)
    say(did="send", status=answer.status_code, same=answer.json() == data)

socket = websocket.WebSocket()
socket.connect(url.replace("http://", "ws://") + "/echo")
for number in range(2, 7):
    socket.send(json.dumps({"type": "HELLO"}))
    welcome = socket.recv()
    data = {"time": now + number, "cpu_load": 1.5, "mem": 6172, "storage": 95888}
    message = {"type": "CLIENT_DATA", "data": data, "interval": 1, "client_id": client_id}
    socket.send(json.dumps(message, indent=4))
    say(did="echo", welcome=welcome, data=json.loads(socket.recv())["payload"]["data"] == data)
socket.send(json.dumps({"type": "SUBSCRIBE", "request_id": "1", "data": ["CPU", "MEM", "STORAGE"], "interval": "1"}))
say(did="subscribe", text=socket.recv(), event=json.loads(socket.recv())["payload"])
socket.send(json.dumps({"type": "UNSUBSCRIBE", "request_id": "1"}))
heard = socket.recv()
while '"EVENT"' in heard:
    heard = socket.recv()
say(did="unsubscribe", text=heard)
socket.close()

headers = {"Authorization": client_id}
answer = requests.post(f"{url}/client/{name}/time", headers=headers, timeout=800)
say(did="time", status=answer.status_code, body=answer.json(), now=now)
path = f"{url}/client/{name}/time/report?start={now}&end={now + 50}"
answer = requests.post(path, headers=headers, timeout=800)
say(did="report", status=answer.status_code, times=[row["unix_time"] - now for row in answer.json()["payload"]])

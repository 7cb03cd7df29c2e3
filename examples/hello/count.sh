#!/bin/sh
# Counts, a line each second.
count=0
while :; do
    count=$((count + 1))
    echo "$count done"
    sleep 1
done

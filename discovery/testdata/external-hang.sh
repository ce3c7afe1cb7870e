#!/bin/sh
# Starts a child that holds its output open, and waits for it.
sleep 600 &
wait

#!/bin/sh
# Takes its reply away.
rm "$2"

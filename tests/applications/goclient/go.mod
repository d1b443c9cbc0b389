module handfast.dev/tests/goclient

go 1.24

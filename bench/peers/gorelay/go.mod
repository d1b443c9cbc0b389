module handfast.dev/bench/gorelay

go 1.21

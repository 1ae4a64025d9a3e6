module github.com/dwell/dwell/tests/bench/clients/go

go 1.23

require github.com/dwell/dwell/client/go v0.0.0

replace github.com/dwell/dwell/client/go => ../../../../client/go

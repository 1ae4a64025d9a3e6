module github.com/dwell/dwell/client/go

go 1.23

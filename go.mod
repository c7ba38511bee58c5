module github.com/oarlock/oarlock

go 1.26.0

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const probes = 200

// probe measures what the machine itself needs at this moment: an fdatasync of 128 bytes in a file that does not grow,
// and a round trip of one byte on loopback; medians.
func probe(dir string) (fsync, trip time.Duration, err error) {
	if fsync, err = probeFsync(filepath.Join(dir, "probe")); err != nil {
		return 0, 0, fmt.Errorf("probing fdatasync: %w", err)
	}
	if trip, err = probeTrip(); err != nil {
		return 0, 0, fmt.Errorf("probing loopback: %w", err)
	}
	return fsync, trip, nil
}

func probeFsync(path string) (_ time.Duration, err error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(path)) }()
	if _, err := file.Write(make([]byte, 1<<20)); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	var took []time.Duration
	for i := range probes {
		start := time.Now()
		if _, err := file.WriteAt(make([]byte, 128), int64(i)*128); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}

func probeTrip() (time.Duration, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	echoed := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			_, err = io.Copy(conn, conn)
		}
		echoed <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	var b [1]byte
	for range 5 * probes {
		start := time.Now()
		if _, err := conn.Write(b[:]); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	if err := conn.Close(); err != nil {
		return 0, err
	}
	return median(took), <-echoed
}

package server

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// A snapshot's stream is a row of MessagePack bin values, each holding one record, and then the state machine's bytes as
// it wrote them: one wire.Applied, and for each session, least recently used first, one wire.Session and its
// wire.Results. The counts stand in the records before.

// recordBytesMax is the longest record a reader takes: a result and room around it.
const recordBytesMax = 1<<31 - 1

// writeStateRecords writes the records in front of the machine's bytes.
func writeStateRecords(w io.Writer, at wire.Applied, images []sessionImage) error {
	var buf []byte
	put := func(record []byte) error {
		buf = raft.AppendEntryHeader(buf[:0], len(record))
		if _, err := w.Write(buf); err != nil {
			return err
		}
		_, err := w.Write(record)
		return err
	}
	at.Sessions = uint32(len(images))
	if err := put(wire.AppendApplied(nil, at)); err != nil {
		return err
	}
	var record []byte
	for _, s := range images {
		record = wire.AppendSession(record[:0], s.Session)
		if err := put(record); err != nil {
			return err
		}
		for _, r := range s.results {
			record = wire.AppendResult(record[:0], r)
			if err := put(record); err != nil {
				return err
			}
		}
	}
	return nil
}

// readStateRecords reads them back and leaves r at the machine's first byte. r is read in small pieces.
func readStateRecords(r io.Reader) (at wire.Applied, images []sessionImage, err error) {
	record, err := readRecord(r)
	if err != nil {
		return at, nil, err
	}
	if at, err = wire.DecodeApplied(record); err != nil {
		return at, nil, err
	}
	for range at.Sessions {
		if record, err = readRecord(r); err != nil {
			return at, nil, err
		}
		var image sessionImage
		if image.Session, err = wire.DecodeSession(record); err != nil {
			return at, nil, err
		}
		for range image.Results {
			if record, err = readRecord(r); err != nil {
				return at, nil, err
			}
			result, err := wire.DecodeResult(record)
			if err != nil {
				return at, nil, err
			}
			image.results = append(image.results, result)
		}
		images = append(images, image)
	}
	return at, images, nil
}

// readRecord reads one bin value. What it returns is the caller's.
func readRecord(r io.Reader) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	var size uint64
	switch head[0] {
	case 0xc4:
		size = uint64(head[1])
	case 0xc5:
		if _, err := io.ReadFull(r, head[2:3]); err != nil {
			return nil, err
		}
		size = uint64(binary.BigEndian.Uint16(head[1:]))
	case 0xc6:
		if _, err := io.ReadFull(r, head[2:5]); err != nil {
			return nil, err
		}
		size = uint64(binary.BigEndian.Uint32(head[1:]))
	default:
		return nil, fmt.Errorf("%w: snapshot: 0x%02x begins no record", wire.ErrMalformed, head[0])
	}
	if size > recordBytesMax {
		return nil, fmt.Errorf("%w: snapshot: a record of %d bytes", wire.ErrMalformed, size)
	}
	// The claim is not believed before the bytes are there: memory grows with what arrives.
	record := make([]byte, 0, min(size, 64<<10))
	for uint64(len(record)) < size {
		at := len(record)
		step := min(size-uint64(at), max(64<<10, uint64(at)))
		record = append(record, make([]byte, step)...)
		if _, err := io.ReadFull(r, record[at:]); err != nil {
			return nil, err
		}
	}
	return record, nil
}

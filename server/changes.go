package server

import (
	"encoding/binary"
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/statemachine"
)

// Keys of the records that a durable machine keeps for the server: one for where it stands, one for each session, one
// for each result that a session keeps. Numbers in keys are big-endian.
const (
	keyApplied = 'a' // value: wire.Applied
	keySession = 's' // session id; value: wire.Session
	keyResult  = 'r' // session id, sequence; value: wire.Result
)

// changes collects what a batch changes of the server's own state. A nil one collects nothing: it belongs to a machine
// that is not durable.
type changes struct {
	records []statemachine.Record
}

func (c *changes) put(key, value []byte) {
	c.records = append(c.records, statemachine.Record{Key: key, Value: value})
}

func (c *changes) session(s wire.Session) {
	if c != nil {
		c.put(sessionKey(s.ID), wire.AppendSession(nil, s))
	}
}

func (c *changes) dropSession(id uint64) {
	if c != nil {
		c.put(sessionKey(id), nil)
	}
}

func (c *changes) result(id uint64, r wire.Result) {
	if c != nil {
		c.put(resultKey(id, r.Sequence), wire.AppendResult(nil, r))
	}
}

func (c *changes) dropResult(id, sequence uint64) {
	if c != nil {
		c.put(resultKey(id, sequence), nil)
	}
}

// latest returns the last change of each key.
func (c *changes) latest() []statemachine.Record {
	seen := make(map[string]struct{}, len(c.records))
	kept := c.records[len(c.records):]
	for k := len(c.records) - 1; k >= 0; k-- {
		r := c.records[k]
		if _, later := seen[string(r.Key)]; !later {
			seen[string(r.Key)] = struct{}{}
			kept = append(kept, r)
		}
	}
	return kept
}

func sessionKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keySession}, id) }

func resultKey(id, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{keyResult}, id), sequence)
}

// readRecords takes a durable machine's records apart.
func readRecords(records []statemachine.Record) (at wire.Applied, images []sessionImage, err error) {
	var known bool
	byID := make(map[uint64]int)
	for _, r := range records {
		if len(r.Key) == 9 && r.Key[0] == keySession {
			s, err := wire.DecodeSession(r.Value)
			if err != nil {
				return at, nil, err
			}
			byID[s.ID] = len(images)
			images = append(images, sessionImage{Session: s})
		}
	}
	for _, r := range records {
		switch {
		case len(r.Key) == 1 && r.Key[0] == keyApplied:
			if at, err = wire.DecodeApplied(r.Value); err != nil {
				return at, nil, err
			}
			known = true
		case len(r.Key) == 17 && r.Key[0] == keyResult:
			k, ok := byID[binary.BigEndian.Uint64(r.Key[1:])]
			if !ok {
				return at, nil, fmt.Errorf("record %x is of a session that is not there", r.Key)
			}
			result, err := wire.DecodeResult(r.Value)
			if err != nil {
				return at, nil, err
			}
			images[k].results = append(images[k].results, result)
		case len(r.Key) != 9 || r.Key[0] != keySession:
			return at, nil, fmt.Errorf("record %x is of no kind that this version knows", r.Key)
		}
	}
	if !known && len(records) > 0 {
		return at, nil, fmt.Errorf("%d records and none says which index they are of", len(records))
	}
	return at, images, nil
}

// recordsOf is the reverse: what a durable machine has to keep after it was restored.
func recordsOf(at wire.Applied, images []sessionImage) []statemachine.Record {
	var c changes
	c.put([]byte{keyApplied}, wire.AppendApplied(nil, at))
	for _, s := range images {
		c.session(s.Session)
		for _, r := range s.results {
			c.result(s.ID, r)
		}
	}
	return c.records
}

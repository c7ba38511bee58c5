package sim

import (
	"bytes"
	"errors"
	"hash/fnv"
	"io"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// guestState is the state of a copy of a user's machine, in a few bytes and, in a run that is told, as a snapshot.
type guestState struct {
	sum    uint64
	known  bool
	stream []byte // nil: not kept
}

// apart returns the hashes of two states that differ, nil if they are not known to.
func (s guestState) apart(o guestState) *[2]uint64 {
	if !s.known || !o.known || s.sum == o.sum {
		return nil
	}
	return &[2]uint64{s.sum, o.sum}
}

// bytesApart says, for the end of a sentence, in which bytes two states differ, if they were kept.
func (s guestState) bytesApart(o guestState) string {
	if s.stream == nil || o.stream == nil {
		return ""
	}
	return "; " + smtest.Difference(s.stream, o.stream)
}

// streamMax is how large snapshots are kept that are compared byte for byte.
const streamMax = 64 << 10

// fingerprint is a machine's state, if it can be had.
func (g *guests) fingerprint(who *guest) (s guestState) {
	if g.w.failure != nil {
		return s
	}
	if h, ok := who.machine.(statemachine.Hasher); ok {
		s.known = g.call(who, 0, nil, "StateHash", func() { s.sum = h.StateHash() })
		return s
	}
	if g.plan.vary {
		return s
	}
	h, kept := fnv.New64a(), new(bytes.Buffer)
	to := io.Writer(h)
	if g.w.story != nil {
		to = io.MultiWriter(h, kept)
	}
	var failed error
	refused := false
	ok := g.call(who, 0, nil, "Snapshot", func() {
		captured, err := smtest.TakeSnapshot(who.machine)
		if refused = err != nil || captured == nil; refused {
			return
		}
		_, failed = captured.WriteTo(to)
		failed = errors.Join(failed, captured.Close())
	})
	if ok && failed != nil {
		g.fail(guestCaptures, who, 0, nil, nil, "a snapshot of server %d cannot be written: %v", who.who, failed)
	}
	s.sum, s.known = h.Sum64(), ok && failed == nil && !refused
	if kept.Len() > 0 && kept.Len() <= streamMax {
		s.stream = kept.Bytes()
	}
	return s
}

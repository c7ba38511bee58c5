package smtest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/statemachine"
)

// ledger is a small right machine that can be told to break one promise. A command is an operation, a key of one byte
// and a value; 's' sets, 'e' sets until 100 ns later times the first byte of the value.
type ledger struct {
	fault   string
	mu      sync.Mutex
	values  map[byte][]byte
	dues    map[byte]int64
	queries int
	buffer  []byte
	inside  atomic.Int32 // queries, of a machine that takes one at a time and says otherwise
	closed  bool         // a snapshot was closed without being written
	torn    bool         // a Restore has failed
}

// shared is what the machines of a broken program have in common.
var shared = map[byte][]byte{}

func newLedger(fault string) *ledger {
	l := &ledger{fault: fault, values: map[byte][]byte{}, dues: map[byte]int64{}}
	if fault == "shares a variable" {
		l.values = shared
	}
	return l
}

func ledgerCommand(r *rand.Rand) []byte {
	b := []byte{"sse"[r.IntN(3)], byte('a' + r.IntN(20))}
	return append(b, fmt.Sprintf("%c%d", 1+r.IntN(40), r.IntN(1000))...)
}

func (l *ledger) Apply(e statemachine.Entry) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed && l.fault == "Close without WriteTo breaks it" {
		return []byte("dead")
	}
	c := e.Command
	if len(c) < 3 || c[0] != 's' && c[0] != 'e' {
		if l.fault == "panics on a malformed command" {
			_ = c[2]
		}
		if l.fault == "panics on a command without its value" && len(c) == 2 && c[0] == 'e' {
			_ = c[2]
		}
		return []byte("bad")
	}
	old := l.values[c[1]]
	l.values[c[1]] = bytes.Clone(c[2:])
	delete(l.dues, c[1])
	if c[0] == 'e' {
		l.dues[c[1]] = e.Time + 100*int64(c[2])
	}
	return l.broken(e, fmt.Appendf(nil, "%d %s", len(l.values), old))
}

// broken breaks the promise, if it is one of Apply's.
func (l *ledger) broken(e statemachine.Entry, result []byte) []byte {
	c := e.Command
	switch l.fault {
	case "keeps the command":
		l.values[c[1]] = c[2:]
	case "changes the command":
		c[2]++
	case "gives its own state away":
		return l.values[c[1]]
	case "uses a result's bytes again":
		l.buffer = append(l.buffer[:0], result...)
		return l.buffer
	case "random result":
		return fmt.Append(nil, rand.IntN(100))
	case "random state":
		l.values[0] = fmt.Append(nil, rand.IntN(1000))
	case "looks at the clock":
		l.values[0] = fmt.Append(nil, time.Now().Unix()/3600)
	case "map order":
		for k := range l.values {
			return []byte{k}
		}
	}
	return result
}

func (l *ledger) Query(q []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(q) < 2 {
		return nil, errors.New("ledger: query too short")
	}
	switch l.fault {
	case "Query changes the state":
		l.values[q[1]] = []byte("asked for")
	case "Query counts itself":
		l.queries++
		if l.queries%100 == 99 {
			delete(l.values, q[1])
		}
	case "Query uses an answer's bytes again":
		l.buffer = append(l.buffer[:0], l.values[q[1]]...)
		return l.buffer, nil
	case "Query is random":
		return fmt.Append(nil, rand.IntN(100)), nil
	case "Query panics":
		return q[100:], nil
	case "Query gives its own state away":
		return l.values[q[1]], nil
	}
	return bytes.Clone(l.values[q[1]]), nil
}

func (l *ledger) NextDue() (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.dues) == 0 {
		return 0, false
	}
	return slices.Min(slices.Collect(maps.Values(l.dues))), true
}

func (l *ledger) Expire(_ uint64, nanos int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, due := range l.dues {
		if due < nanos || due == nanos && l.fault != "is still due" {
			delete(l.values, k)
			delete(l.dues, k)
		}
	}
}

// ledgerSnapshot is what was captured; a broken one is the live machine.
type ledgerSnapshot struct {
	l       *ledger
	stream  []byte
	live    bool
	unlock  bool
	written bool
}

func (l *ledger) Snapshot() (statemachine.Snapshot, error) {
	l.mu.Lock()
	if l.fault == "holds its lock until Close" {
		return &ledgerSnapshot{l: l, stream: l.encode(), unlock: true}, nil
	}
	defer l.mu.Unlock()
	if l.torn && l.fault == "refuses after a bad Restore" {
		return nil, errors.New("ledger: restore failed; start again")
	}
	return &ledgerSnapshot{l: l, stream: l.encode(), live: l.fault == "snapshot is the live state"}, nil
}

func (s *ledgerSnapshot) WriteTo(w io.Writer) (int64, error) {
	s.written = true
	if s.live {
		s.l.mu.Lock()
		s.stream = s.l.encode()
		s.l.mu.Unlock()
	}
	n, err := w.Write(s.stream)
	switch s.l.fault {
	case "WriteTo hides the writer's error":
		return int64(n), nil
	case "WriteTo miscounts":
		return int64(n) + 1, err
	}
	return int64(n), err
}

func (s *ledgerSnapshot) Close() error {
	if s.unlock {
		s.l.mu.Unlock()
	}
	if !s.written {
		s.l.mu.Lock()
		s.l.closed = true
		s.l.mu.Unlock()
	}
	return nil
}

// encode writes a count, keys in order with due and value, and a checksum.
func (l *ledger) encode() []byte {
	keys := slices.Sorted(maps.Keys(l.values))
	if l.fault == "snapshot in map order" {
		keys = slices.Collect(maps.Keys(l.values))
	}
	return l.encodeOf(keys)
}

func (l *ledger) encodeOf(keys []byte) []byte {
	b := []byte{byte(len(keys))}
	for _, k := range keys {
		due := l.dues[k]
		if l.fault == "snapshot forgets what is due" {
			due = 0
		}
		b = binary.BigEndian.AppendUint64(append(b, k, byte(len(l.values[k]))), uint64(due))
		b = append(b, l.values[k]...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func (l *ledger) Restore(stream io.Reader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := io.ReadAll(stream)
	switch l.fault {
	case "Restore reads once":
		b = make([]byte, 1<<16)
		var n int
		n, err = stream.Read(b)
		b = b[:n]
	case "Restore hides the reader's error":
		err = nil
	}
	if err != nil {
		return err
	}
	values, dues, err := l.decode(b)
	if err != nil {
		l.torn = true
		if l.fault == "refuses after a bad Restore" || l.fault == "Restore leaves half behind" {
			l.values = values
		}
		return err
	}
	if l.fault == "Restore keeps old keys" {
		maps.Copy(l.values, values)
		maps.Copy(l.dues, dues)
		return nil
	}
	l.values, l.dues = values, dues
	return nil
}

func (l *ledger) decode(b []byte) (map[byte][]byte, map[byte]int64, error) {
	values, dues := map[byte][]byte{}, map[byte]int64{}
	bad := errors.New("ledger: damaged snapshot")
	switch {
	case l.fault == "Restore does not notice the end" || l.fault == "Restore hides the reader's error" && len(b) < 5:
		bad = nil
	case l.fault == "Restore panics":
		_ = b[5]
	}
	if len(b) < 5 {
		return values, dues, bad
	}
	rest, sum := b[1:len(b)-4], b[len(b)-4:]
	for range b[0] {
		if len(rest) < 10 || len(rest) < 10+int(rest[1]) {
			return values, dues, bad
		}
		values[rest[0]] = bytes.Clone(rest[10 : 10+int(rest[1])])
		if due := int64(binary.BigEndian.Uint64(rest[2:])); due != 0 {
			dues[rest[0]] = due
		}
		rest = rest[10+int(rest[1]):]
	}
	if l.fault == "has no checksum" {
		return values, dues, nil
	}
	if len(rest) != 0 || binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(b[:len(b)-4]) {
		return values, dues, bad
	}
	return values, dues, nil
}

// hashed is a ledger with a hash.
type hashed struct{ *ledger }

func (h hashed) StateHash() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault == "Hash is constant" {
		return 7
	}
	return uint64(crc32.ChecksumIEEE(h.encodeOf(slices.Sorted(maps.Keys(h.values)))))
}

// batched is a ledger with ApplyBatch and queries from anywhere.
type batched struct{ *ledger }

func (b batched) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	for i, e := range entries {
		switch {
		case b.fault == "ApplyBatch skips" && i == 7:
			continue
		case b.fault == "ApplyBatch swaps results" && i == 1:
			results[0], results[1] = b.Apply(e), results[0]
			continue
		case b.fault == "ApplyBatch executes the same once" && i > 0 && bytes.Equal(e.Command, entries[i-1].Command):
			results[i] = results[i-1]
			continue
		case b.fault == "ApplyBatch keeps the command" && len(e.Command) > 2:
			results[i] = b.Apply(e)
			b.values[e.Command[1]] = e.Command[2:]
			continue
		}
		results[i] = b.Apply(e)
	}
}

func (b batched) ConcurrentQuery() {}

func (b batched) Query(q []byte) ([]byte, error) {
	if b.fault != "concurrent queries disturb each other" {
		return b.ledger.Query(q)
	}
	b.inside.Add(1)
	defer b.inside.Add(-1)
	for range 2000 {
		if b.inside.Load() > 1 {
			panic("somebody else is here")
		}
		runtime.Gosched()
	}
	return b.ledger.Query(q)
}

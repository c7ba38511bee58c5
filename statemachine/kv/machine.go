package kv

import (
	"math/bits"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/google/btree"

	"github.com/oarlock/oarlock/statemachine"
)

// degree is the btree's: up to 31 items a node, which a write copies once after each snapshot. 32 and 64 were not faster.
const degree = 16

// item is one key. It is a value in the tree's nodes, never changed in place, so that a clone of the tree is a snapshot.
type item struct {
	key   string
	value string
	due   int64  // cluster time at which it goes; 0: never
	hash  uint64 // of the three above
}

func itemLess(a, b item) bool { return a.key < b.key }

// deadline orders what expires: by time, then by key, so that the order is the same on every server.
type deadline struct {
	due int64
	key string
}

func deadlineLess(a, b deadline) bool {
	if a.due != b.due {
		return a.due < b.due
	}
	return a.key < b.key
}

// Machine is the store. Apply, ApplyBatch, Expire, NextDue, Snapshot, Restore and Hash belong to the apply goroutine, as
// package statemachine says; Query, Len and Bytes may be called from any goroutine beside them.
type Machine struct {
	mu    sync.RWMutex // held for writing by whoever changes state; the apply goroutine reads without it
	state *state
}

// state is all that a snapshot brings back.
type state struct {
	items *btree.BTreeG[item]
	dues  *btree.BTreeG[deadline]
	hash  uint64 // sum of the items' hashes, so that it depends on what is there and not on how it came
	bytes int64
}

// The interfaces beyond StateMachine that a Machine serves.
var (
	_ statemachine.StateMachine      = (*Machine)(nil)
	_ statemachine.BatchApplier      = (*Machine)(nil)
	_ statemachine.Scheduled         = (*Machine)(nil)
	_ statemachine.ConcurrentQuerier = (*Machine)(nil)
	_ statemachine.Hasher            = (*Machine)(nil)
)

// New returns an empty store.
func New() *Machine { return &Machine{state: newState()} }

func newState() *state {
	return &state{items: btree.NewG(degree, itemLess), dues: btree.NewG(degree, deadlineLess)}
}

// ConcurrentQuery marks Query as safe beside Apply and beside itself.
func (m *Machine) ConcurrentQuery() {}

// Len returns how many keys there are.
func (m *Machine) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state.items.Len()
}

// Bytes returns about how much memory the state takes: keys, values, and what the trees add to each of them.
func (m *Machine) Bytes() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state.bytes
}

// StateHash returns the hash of the state: of every key with its value and its expiry. It is kept up to date by every
// command, so asking costs nothing. It finds accidents, not adversaries.
func (m *Machine) StateHash() uint64 { return m.state.hash }

// Apply executes one command. See the package comment for commands and results.
func (m *Machine) Apply(entry statemachine.Entry) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	code, number := m.state.execute(entry)
	return appendResult(make([]byte, 0, 4), code, number)
}

// lockedEntriesMax is how many commands are executed before waiting queries get their turn: one that met a batch of 256
// waited 60 µs instead of 5.
const lockedEntriesMax = 32

// ApplyBatch executes many commands. The results share one allocation.
func (m *Machine) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Most results take three bytes: a pair, a code, a small number.
	buf := make([]byte, 0, 3*len(entries)+resultBytesMax)
	for i, entry := range entries {
		if i%lockedEntriesMax == lockedEntriesMax-1 {
			m.mu.Unlock()
			m.mu.Lock()
		}
		code, number := m.state.execute(entry)
		if cap(buf)-len(buf) < resultBytesMax {
			// What was filled stays with the results that point into it.
			buf = make([]byte, 0, 4*(len(entries)-i)+resultBytesMax)
		}
		start := len(buf)
		buf = appendResult(buf, code, number)
		results[i] = buf[start:len(buf):len(buf)]
	}
}

// NextDue returns the cluster time at which the first key expires.
func (m *Machine) NextDue() (nanos int64, ok bool) {
	first, ok := m.state.dues.Min()
	return first.due, ok
}

// Expire removes every key that is due at nanos.
func (m *Machine) Expire(_ uint64, nanos int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.expire(nanos)
}

// expire removes what is due at now. It comes before every command too, so that whoever holds an entry with a later time
// knows that nothing older than it is left, whether or not a clock entry came between.
func (s *state) expire(now int64) {
	for {
		first, ok := s.dues.Min()
		if !ok || first.due > now {
			return
		}
		s.remove(first.key)
	}
}

func (s *state) execute(entry statemachine.Entry) (Code, uint64) {
	s.expire(entry.Time)
	c, code := parseCommand(entry.Command)
	if code != CodeOK {
		return code, 0
	}
	switch c.op {
	case opPut:
		return CodeOK, oneIf(s.set(c.key, c.value, due(entry.Time, c.ttl)))
	case opAppend:
		return s.append(c)
	case opCompareAndSet:
		old, ok := s.items.Get(item{key: string(c.key)})
		if ok != (c.expected != nil) || ok && old.value != string(c.expected) {
			return CodeOK, 0
		}
		s.set(c.key, c.value, due(entry.Time, c.ttl))
		return CodeOK, 1
	case opDelete:
		return CodeOK, oneIf(s.remove(string(c.key)))
	case opCompareAndDelete:
		old, ok := s.items.Get(item{key: string(c.key)})
		if !ok || old.value != string(c.expected) {
			return CodeOK, 0
		}
		return CodeOK, oneIf(s.remove(old.key))
	}
	return CodeUnknownCommand, 0
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (s *state) append(c command) (Code, uint64) {
	old, ok := s.items.Get(item{key: string(c.key)})
	if !ok {
		s.set(c.key, c.value, 0)
		return CodeOK, uint64(len(c.value))
	}
	length := len(old.value) + len(c.value)
	if length > ValueBytesMax {
		return CodeTooLarge, 0
	}
	s.put(newItem(joined(c.key, old.value, c.value), len(c.key), old.due))
	return CodeOK, uint64(length)
}

// set copies key and value, which belong to the command, into one string for both.
func (s *state) set(key, value []byte, due int64) (existed bool) {
	return s.put(newItem(joined(key, "", value), len(key), due))
}

func joined(key []byte, old string, more []byte) string {
	var b strings.Builder
	b.Grow(len(key) + len(old) + len(more))
	b.Write(key)
	b.WriteString(old)
	b.Write(more)
	return b.String()
}

// newItem cuts both into key and value.
func newItem(both string, keyLength int, due int64) item {
	it := item{key: both[:keyLength], value: both[keyLength:], due: due}
	it.hash = mix(xxhash.Sum64String(it.key) + mix(xxhash.Sum64String(it.value)^mix(uint64(due))))
	return it
}

// mix spreads every bit over all of them (the finalizer of MurmurHash3), so that the hashes of key, value and expiry do
// not cancel out and the sum over items does not either.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return bits.RotateLeft64(h^h>>33, 29) + 0x9e3779b97f4a7c15
}

func (s *state) put(it item) (existed bool) {
	old, existed := s.items.ReplaceOrInsert(it)
	if existed {
		s.forget(old)
	}
	s.hash += it.hash
	s.bytes += it.memory()
	if it.due != 0 {
		s.dues.ReplaceOrInsert(deadline{due: it.due, key: it.key})
	}
	return existed
}

func (s *state) remove(key string) (existed bool) {
	old, existed := s.items.Delete(item{key: key})
	if existed {
		s.forget(old)
	}
	return existed
}

// forget takes what is no longer among the items out of everything that was derived from it.
func (s *state) forget(old item) {
	s.hash -= old.hash
	s.bytes -= old.memory()
	if old.due != 0 {
		s.dues.Delete(deadline{due: old.due, key: old.key})
	}
}

// What the trees add to a key: its item and its deadline in nodes that are about two thirds full, and the string's
// rounding to a size class.
const (
	itemBytes     = 48*3/2 + 12
	deadlineBytes = 24 * 3 / 2
)

func (it item) memory() int64 {
	n := int64(len(it.key)+len(it.value)) + itemBytes
	if it.due != 0 {
		n += deadlineBytes
	}
	return n
}

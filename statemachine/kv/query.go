package kv

import (
	"encoding/binary"
	"fmt"

	"github.com/google/btree"
)

// Query answers Get, Scan, Count and Hash. An error matches ErrBadQuery.
func (m *Machine) Query(query []byte) ([]byte, error) {
	r := reader{rest: query}
	n, kind := r.array(), r.int()
	switch {
	case r.bad:
	case kind == queryGet && n == 2:
		if key := r.bytes(); r.done() {
			return m.get(key), nil
		}
	case kind == queryScan && n == 4:
		from, to, limit := r.bytes(), r.bytesOrNil(), r.int()
		if r.done() && limit > 0 {
			return m.scan(from, to, int(min(limit, ScanLimitMax))), nil
		}
	case kind == queryCount && n == 3:
		if from, to := r.bytes(), r.bytesOrNil(); r.done() {
			return appendUint([]byte{0x92, byte(CodeOK)}, uint64(m.count(from, to))), nil
		}
	case kind == queryHash && n == 1:
		if r.done() {
			m.mu.RLock()
			defer m.mu.RUnlock()
			hash := binary.BigEndian.AppendUint64(nil, m.state.hash)
			return appendUint(appendBin([]byte{0x93, byte(CodeOK)}, hash), uint64(m.state.items.Len())), nil
		}
	}
	return nil, fmt.Errorf("%w: % x", ErrBadQuery, clip(query))
}

func (m *Machine) get(key []byte) []byte {
	m.mu.RLock()
	it, ok := m.state.items.Get(item{key: string(key)})
	m.mu.RUnlock()
	if !ok {
		return []byte{0x92, byte(CodeNotFound), tagNil}
	}
	// The item is a copy and its strings never change, so the lock need not be held while they are copied.
	b := make([]byte, 0, 7+len(it.value))
	return appendBin(append(b, 0x92, byte(CodeOK)), it.value)
}

func (m *Machine) scan(from, to []byte, limit int) []byte {
	var found []item
	more, size := false, 0
	m.mu.RLock()
	ascend(m.state.items, from, to, func(it item) bool {
		grown := size + len(it.key) + len(it.value)
		if len(found) == limit || len(found) > 0 && grown > ScanBytesMax {
			more = true
			return false
		}
		found, size = append(found, it), grown
		return true
	})
	m.mu.RUnlock()
	b := make([]byte, 0, 8+size+10*len(found))
	b = append(b, 0x93, byte(CodeOK))
	b = appendBool(b, more)
	b = appendArray(b, 2*len(found))
	for _, it := range found {
		b = appendBin(b, it.key)
		b = appendBin(b, it.value)
	}
	return b
}

// count walks a clone, so that commands do not wait for a walk of any length.
func (m *Machine) count(from, to []byte) int {
	if len(from) == 0 && to == nil {
		return m.Len()
	}
	m.mu.Lock() // Clone changes its receiver.
	items := m.state.items.Clone()
	m.mu.Unlock()
	n := 0
	ascend(items, from, to, func(item) bool { n++; return true })
	return n
}

func ascend(items *btree.BTreeG[item], from, to []byte, each func(item) bool) {
	first := item{key: string(from)}
	if to == nil {
		items.AscendGreaterOrEqual(first, each)
		return
	}
	items.AscendRange(first, item{key: string(to)}, each)
}

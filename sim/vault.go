package sim

import (
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
)

// vault is the storage of a machine that has one of its own: transactions, of which the last ones may not be durable yet.
type vault struct {
	durable vaultState
	pending []transaction
	chance  *rand.Rand
}

// vaultState is what a machine with storage of its own keeps.
type vaultState struct {
	machine machine
	index   uint64
	records map[string][]byte
}

// transaction is what one batch has changed.
type transaction struct {
	machine machine
	index   uint64
	anew    bool // the records are all there are
	records []statemachine.Record
}

func newVault(r *rand.Rand) *vault { return &vault{chance: r} }

func (s *vaultState) take(t *transaction) {
	if t.anew || s.records == nil {
		s.records = make(map[string][]byte)
	}
	s.machine, s.index = t.machine, t.index
	for _, r := range t.records {
		if r.Value == nil {
			delete(s.records, string(r.Key))
		} else {
			s.records[string(r.Key)] = r.Value
		}
	}
}

// commit takes a transaction, and makes it durable with those before it some time or other.
func (v *vault) commit(t transaction) {
	for i := range t.records {
		t.records[i].Key, t.records[i].Value = slices.Clone(t.records[i].Key), slices.Clone(t.records[i].Value)
	}
	t.machine = t.machine.copyOf()
	v.pending = append(v.pending, t)
	if chance(v.chance, 0.2) {
		v.sync(len(v.pending))
	}
}

// sync makes so many transactions durable.
func (v *vault) sync(n int) {
	for i := range v.pending[:n] {
		v.durable.take(&v.pending[i])
	}
	v.pending = slices.Delete(v.pending, 0, n)
}

// crash returns what a power cut leaves: the transactions that are durable, and some more in their order.
func (v *vault) crash() *vault {
	c := &vault{durable: v.durable, pending: slices.Clone(v.pending), chance: v.chance}
	c.durable.records = maps.Clone(c.durable.records)
	c.sync(v.chance.IntN(len(c.pending) + 1))
	c.pending = nil
	return c
}

// open makes a machine of what is there, and returns up to which index it has come.
func (v *vault) open(m *machine) raft.Index {
	if v.durable.index != 0 {
		m.o.w.saw(sawMachineKept)
		o := m.o
		*m = v.durable.machine.copyOf()
		m.o = o
	}
	return raft.Index(v.durable.index)
}

// copyOf copies a machine with its lists.
func (m *machine) copyOf() machine {
	c := *m
	for k := range c.cells {
		c.cells[k].list = slices.Clip(c.cells[k].list) // lists only grow
	}
	return c
}

// durableMachine is the simulated application with storage of its own.
type durableMachine struct {
	*machine
	v *vault
}

var _ statemachine.Durable = durableMachine{}

// Load implements statemachine.Durable.
func (m durableMachine) Load() (index uint64, records []statemachine.Record, err error) {
	s := &m.v.durable
	for _, key := range slices.Sorted(maps.Keys(s.records)) {
		records = append(records, statemachine.Record{Key: []byte(key), Value: s.records[key]})
	}
	return s.index, records, nil
}

// ApplyDurable implements statemachine.Durable.
func (m durableMachine) ApplyDurable(entries []statemachine.Entry, results [][]byte, through uint64, changes func() []statemachine.Record) error {
	for i := range entries {
		results[i] = m.Apply(entries[i])
	}
	m.v.commit(transaction{machine: *m.machine, index: through, records: slices.Clone(changes())})
	return nil
}

// RestoreDurable implements statemachine.Durable.
func (m durableMachine) RestoreDurable(snapshot io.Reader, index uint64, records []statemachine.Record) error {
	if err := m.Restore(snapshot); err != nil {
		return err
	}
	m.v.commit(transaction{machine: *m.machine, index: index, anew: true, records: slices.Clone(records)})
	return nil
}

package smtest_test

import (
	"bytes"
	"io"
	"maps"

	"github.com/oarlock/oarlock/statemachine"
)

// disk is the storage of a vault: the last transactions are lost in a crash.
type disk struct {
	stable  image
	crashes int
	pending []image // after each transaction that is not durable yet
}

// image is all that is stored of one index.
type image struct {
	index   uint64
	state   []byte
	records map[string]string
}

// vault is a right Durable machine, kept in memory so that a crash can be played, or one with a fault of its own.
type vault struct {
	*ledger
	disk  *disk
	index uint64
	kept  map[string]string
}

func newVault(fault string) *vault {
	d := &disk{}
	v := &vault{ledger: newLedger(fault), disk: d, kept: map[string]string{}}
	d.stable = v.image()
	return v
}

func (v *vault) image() image {
	return image{index: v.index, state: v.encode(), records: maps.Clone(v.kept)}
}

// reopen crashes v and opens its disk.
func reopen(m statemachine.StateMachine) (statemachine.StateMachine, error) {
	old := m.(*vault)
	d := old.disk
	if n := len(d.pending); n > 0 {
		switch old.fault {
		case "makes records durable before the state":
			d.stable.records = d.pending[n-1].records
		case "makes the index durable before the state":
			d.stable.index = d.pending[n-1].index
		case "forgets its records":
			d.stable.records = nil
		}
	}
	if d.crashes++; old.fault == "forgets what was complete" && d.crashes == 4 {
		d.stable = newVault("").disk.stable
	}
	d.pending = nil
	v := &vault{ledger: newLedger(old.fault), disk: d, index: d.stable.index, kept: maps.Clone(d.stable.records)}
	return v, v.Restore(bytes.NewReader(d.stable.state))
}

func (v *vault) Load() (uint64, []statemachine.Record, error) {
	var records []statemachine.Record
	for k, value := range v.kept {
		records = append(records, statemachine.Record{Key: []byte(k), Value: []byte(value)})
	}
	return v.index, records, nil
}

func (v *vault) ApplyDurable(entries []statemachine.Entry, results [][]byte, through uint64, changes func() []statemachine.Record) error {
	var records []statemachine.Record
	if v.fault == "asks for the changes before the results" {
		records = changes()
	}
	for i, e := range entries {
		results[i] = v.Apply(e)
		if v.fault == "commits inside a transaction" && i == 2 {
			v.index = e.Index
			v.disk.stable, v.disk.pending = v.image(), nil
		}
	}
	v.index = through
	switch v.fault {
	case "asks for the changes before the results", "never asks for the changes":
	case "asks for the changes twice":
		changes()
		fallthrough
	default:
		records = changes()
	}
	for _, c := range records {
		switch {
		case c.Value != nil:
			v.kept[string(c.Key)] = string(c.Value)
		case v.fault != "keeps deleted records":
			delete(v.kept, string(c.Key))
		}
	}
	v.disk.pending = append(v.disk.pending, v.image())
	if len(v.disk.pending) > 3 {
		v.disk.stable, v.disk.pending = v.disk.pending[0], v.disk.pending[1:]
	}
	return nil
}

func (v *vault) RestoreDurable(stream io.Reader, index uint64, records []statemachine.Record) error {
	if v.fault == "RestoreDurable sets records first" {
		v.kept = map[string]string{}
		v.disk.stable = v.image()
	}
	if err := v.Restore(stream); err != nil {
		return err
	}
	v.index, v.kept = index, map[string]string{}
	for _, r := range records {
		v.kept[string(r.Key)] = string(r.Value)
	}
	v.disk.stable, v.disk.pending = v.image(), nil
	return nil
}

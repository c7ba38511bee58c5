package replicatest_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"strings"

	"github.com/oarlock/oarlock/statemachine"
)

// tape is a state machine that remembers every command, with a sum of all up to each, so that a few bytes say which
// commands somebody has seen and in which order. Its result is how many there are. "due ..." asks for a clock entry.
type tape struct {
	Commands []string
	Sums     []uint64
	Due      int64
	Expired  []string
}

const dueAfter = int64(150e6)

func (t *tape) sum() uint64 {
	if len(t.Sums) == 0 {
		return 0
	}
	return t.Sums[len(t.Sums)-1]
}

// Apply implements statemachine.StateMachine.
func (t *tape) Apply(e statemachine.Entry) []byte {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, t.sum()))
	_, _ = h.Write(e.Command)
	_, _ = fmt.Fprint(h, e.Index, e.Term, e.Time)
	t.Commands = append(t.Commands, string(e.Command))
	t.Sums = append(t.Sums, h.Sum64())
	if strings.HasPrefix(string(e.Command), "due ") {
		t.Due = e.Time + dueAfter
	}
	if strings.HasPrefix(string(e.Command), "large ") {
		return make([]byte, resultBytesMax+1)
	}
	return fmt.Append(nil, len(t.Commands))
}

// Query implements statemachine.StateMachine.
func (t *tape) Query([]byte) ([]byte, error) {
	return fmt.Appendf(nil, "%d %d", len(t.Commands), t.sum()), nil
}

// NextDue implements statemachine.Scheduled.
func (t *tape) NextDue() (int64, bool) { return t.Due, t.Due != 0 }

// Expire implements statemachine.Scheduled.
func (t *tape) Expire(index uint64, nanos int64) {
	if t.Due != 0 && t.Due <= nanos {
		t.Expired = append(t.Expired, fmt.Sprint(index, " ", nanos))
		t.Due = 0
	}
}

// Snapshot implements statemachine.StateMachine.
func (t *tape) Snapshot() (statemachine.Snapshot, error) {
	b, err := json.Marshal(t)
	return statemachine.Encoded(b), err
}

// Restore implements statemachine.StateMachine.
func (t *tape) Restore(r io.Reader) error {
	*t = tape{}
	return json.NewDecoder(r).Decode(t)
}

// batchTape takes commands in batches.
type batchTape struct{ tape }

// ApplyBatch implements statemachine.BatchApplier.
func (t *batchTape) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	for i, e := range entries {
		results[i] = t.Apply(e)
	}
}

// boxTape has storage of its own, of which a crash may lose the latest transactions.
type boxTape struct {
	tape
	box *box
}

type box struct {
	kept  []boxed
	floor int // so many are known to be durable
}

type boxed struct {
	index   uint64
	state   []byte
	records map[string]string
}

// crash loses the latest n transactions, those excepted that an earlier start has found.
func (b *box) crash(n int) {
	b.kept = b.kept[:max(min(b.floor, len(b.kept)), len(b.kept)-n)]
}

// Load implements statemachine.Durable.
func (t *boxTape) Load() (uint64, []statemachine.Record, error) {
	n := len(t.box.kept)
	t.box.floor = n
	if n == 0 {
		return 0, nil, nil
	}
	last := t.box.kept[n-1]
	var records []statemachine.Record
	for k, v := range last.records {
		records = append(records, statemachine.Record{Key: []byte(k), Value: []byte(v)})
	}
	return last.index, records, json.Unmarshal(last.state, &t.tape)
}

// ApplyDurable implements statemachine.Durable.
func (t *boxTape) ApplyDurable(entries []statemachine.Entry, results [][]byte, through uint64, changes func() []statemachine.Record) error {
	for i, e := range entries {
		results[i] = t.Apply(e)
	}
	return t.keep(through, changes(), false)
}

// RestoreDurable implements statemachine.Durable.
func (t *boxTape) RestoreDurable(r io.Reader, index uint64, records []statemachine.Record) error {
	if err := t.Restore(r); err != nil {
		return err
	}
	return t.keep(index, records, true)
}

func (t *boxTape) keep(index uint64, changes []statemachine.Record, anew bool) error {
	state, err := json.Marshal(&t.tape)
	if err != nil {
		return err
	}
	next := boxed{index: index, state: state, records: make(map[string]string)}
	if n := len(t.box.kept); n > 0 && !anew {
		for k, v := range t.box.kept[n-1].records {
			next.records[k] = v
		}
	}
	for _, c := range changes {
		if c.Value == nil {
			delete(next.records, string(c.Key))
		} else {
			next.records[string(c.Key)] = string(c.Value)
		}
	}
	t.box.kept = append(t.box.kept, next)
	return nil
}

package server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/oarlock/oarlock/statemachine"
)

// ledger is a state machine that remembers every command with its index, so that a test sees what was executed, in
// which order, and how often. Its result is the number of commands so far. A few commands do something special.
type ledger struct {
	mu      sync.Mutex
	entries []string
	expired []string
	due     int64 // 0: nothing
	stuck   bool  // Expire does nothing: NextDue stays due

	hold    chan struct{} // if not nil, "hold" waits for it
	holding chan struct{} // receives when "hold" waits
	failing error         // Snapshot's
}

func (l *ledger) Apply(e statemachine.Entry) []byte {
	command := string(e.Command)
	if command == "panic" {
		panic("the ledger was told to")
	}
	if command == "broken" {
		panic(&statemachine.Broken{Err: errors.New("the ledger lost a page")})
	}
	if command == "hold" {
		l.holding <- struct{}{}
		<-l.hold
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, fmt.Sprintf("%d %s", e.Index, command))
	var n int
	if _, err := fmt.Sscanf(command, "due %d", &n); err == nil {
		l.due = e.Time + int64(n)
	}
	if _, err := fmt.Sscanf(command, "large %d", &n); err == nil {
		return make([]byte, n)
	}
	return fmt.Appendf(nil, "%d", len(l.entries))
}

func (l *ledger) Query(q []byte) ([]byte, error) {
	if string(q) == "panic" {
		panic("the ledger was asked to")
	}
	if string(q) == "error" {
		return nil, errors.New("the ledger has no answer")
	}
	return []byte(l.all()), nil
}

// commands returns what was executed, without indexes.
func (l *ledger) commands() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, e := range l.entries {
		_, command, _ := strings.Cut(e, " ")
		all = append(all, command)
	}
	return all
}

// all returns the entries with their indexes.
func (l *ledger) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.entries, "\n")
}

// expiries returns the entries at which something expired.
func (l *ledger) expiries() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.expired)
}

func (l *ledger) NextDue() (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.due, l.due != 0
}

func (l *ledger) Expire(index uint64, nanos int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due != 0 && l.due <= nanos && !l.stuck {
		l.expired = append(l.expired, fmt.Sprint(index))
		l.due = 0
	}
}

type ledgerImage struct{ data []byte }

func (i ledgerImage) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(i.data)
	return int64(n), err
}

func (i ledgerImage) Close() error { return nil }

func (l *ledger) Snapshot() (statemachine.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing != nil {
		return nil, l.failing
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(l.due))
	for _, e := range l.entries {
		b = binary.BigEndian.AppendUint32(b, uint32(len(e)))
		b = append(b, e...)
	}
	return ledgerImage{b}, nil
}

func (l *ledger) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due, b = int64(binary.BigEndian.Uint64(b)), b[8:]
	l.entries = nil
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		l.entries = append(l.entries, string(b[4:4+n]))
		b = b[4+n:]
	}
	return nil
}

// batchLedger is a ledger that takes commands in batches.
type batchLedger struct{ ledger }

func (l *batchLedger) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	for i, e := range entries {
		results[i] = l.Apply(e)
	}
}

// openLedger is a ledger that answers queries beside applies.
type openLedger struct{ ledger }

func (l *openLedger) ConcurrentQuery() {}

// vault is a ledger with storage of its own, which outlives the vault itself. It keeps each transaction apart, so that a
// test can lose the latest ones as a crash would.
type vault struct {
	ledger
	disk *vaultDisk
}

type vaultDisk struct {
	mu    sync.Mutex
	steps []vaultStep

	breakAt    int  // the transaction with which the machine breaks, counted from 1; 0: none
	breakAfter bool // and whether that is after its commit
}

var errVaultBroke = errors.New("the vault broke")

type vaultStep struct {
	index   uint64
	state   []byte
	records map[string][]byte
}

func (d *vaultDisk) last() vaultStep {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.steps) == 0 {
		return vaultStep{}
	}
	return d.steps[len(d.steps)-1]
}

func (d *vaultDisk) lose(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps = d.steps[:max(0, len(d.steps)-n)]
}

func (v *vault) Load() (uint64, []statemachine.Record, error) {
	last := v.disk.last()
	if last.state != nil {
		if err := v.Restore(bytes.NewReader(last.state)); err != nil {
			return 0, nil, err
		}
	}
	var records []statemachine.Record
	for k, value := range last.records {
		records = append(records, statemachine.Record{Key: []byte(k), Value: value})
	}
	return last.index, records, nil
}

func (v *vault) ApplyDurable(entries []statemachine.Entry, results [][]byte, through uint64, changes func() []statemachine.Record) error {
	for i, e := range entries {
		results[i] = v.Apply(e)
	}
	v.disk.mu.Lock()
	broke, after := len(v.disk.steps)+1 == v.disk.breakAt, v.disk.breakAfter
	if broke {
		v.disk.breakAt = 0
	}
	v.disk.mu.Unlock()
	records := changes()
	if broke && !after {
		return errVaultBroke
	}
	if err := v.keep(through, records, false); err != nil || !broke {
		return err
	}
	return errVaultBroke
}

func (v *vault) keep(through uint64, changes []statemachine.Record, anew bool) error {
	image, err := v.Snapshot()
	if err != nil {
		return err
	}
	step := vaultStep{index: through, state: image.(ledgerImage).data, records: make(map[string][]byte)}
	if !anew {
		for k, value := range v.disk.last().records {
			step.records[k] = value
		}
	}
	for _, c := range changes {
		if c.Value == nil {
			delete(step.records, string(c.Key))
		} else {
			step.records[string(c.Key)] = bytes.Clone(c.Value)
		}
	}
	v.disk.mu.Lock()
	defer v.disk.mu.Unlock()
	v.disk.steps = append(v.disk.steps, step)
	return nil
}

func (v *vault) RestoreDurable(r io.Reader, index uint64, records []statemachine.Record) error {
	if err := v.Restore(r); err != nil {
		return err
	}
	return v.keep(index, records, true)
}

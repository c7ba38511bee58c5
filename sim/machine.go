package sim

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
)

// The commands of the simulated application. Each carries a number that no other one has; the number is the value that is
// written, so that whoever reads it knows who wrote it.
type commandKind uint8

const (
	commandSet    commandKind = 1 // a register gets the number
	commandSwap   commandKind = 2 // a register gets the number if it holds the expected one
	commandAppend commandKind = 3 // a list gets the number at its end
	commandLarge  commandKind = 4 // as set, with a result over the limit
	commandDue    commandKind = 5 // as set, and something falls due a little later by cluster time
)

// keysMax is how many keys a group has; the plan may use fewer.
const keysMax = 32

// command is a command as it travels: kind, number, key, expected number, and as many further bytes as wanted.
type command struct {
	kind   commandKind
	number uint32
	key    uint8
	expect uint32
}

const commandBytes = 10

func (c command) encode(size int) []byte {
	b := make([]byte, max(size, commandBytes))
	b[0], b[5] = byte(c.kind), c.key
	binary.BigEndian.PutUint32(b[1:], c.number)
	binary.BigEndian.PutUint32(b[6:], c.expect)
	for i := commandBytes; i < len(b); i++ {
		b[i] = byte(c.number) + byte(i)
	}
	return b
}

func decodeCommand(b []byte) command {
	return command{
		kind: commandKind(b[0]), key: b[5], number: binary.BigEndian.Uint32(b[1:]), expect: binary.BigEndian.Uint32(b[6:]),
	}
}

// cell is what a key holds.
type cell struct {
	register uint32
	list     []uint32
}

func (c *cell) hash(key int) uint64 {
	if c.register == 0 && len(c.list) == 0 {
		return 0
	}
	h := mixed(uint64(key)+1, uint64(c.register))
	for _, v := range c.list {
		h = mixed(h, uint64(v))
	}
	return h
}

func mixed(a, b uint64) uint64 {
	x := (a ^ b + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	return x ^ x>>31
}

// machine is the simulated application: registers and lists, and a count of its changes, which goes into every answer.
type machine struct {
	o     *groupOracle
	who   raft.ServerID
	index uint64 // of the last entry that changed it
	count uint64 // of changes
	order uint64 // a hash of all changes in their order
	cells [keysMax]cell
	sums  [keysMax]uint64 // hash of each cell
	sum   uint64          // of them all
	due   int64
	guest *guest // the user's machine that is tested; nil: none
}

// How much later something falls due, and by how much its execution may be late when nothing fails, both by cluster time.
const (
	dueAfter = int64(300e6)
	dueLate  = int64(1e9)
)

// isRestored is where a machine stands after Restore.
const isRestored = "is restored from a snapshot"

func newMachine(o *groupOracle, who raft.ServerID) *machine {
	m := &machine{o: o, who: who}
	if o.w.guests != nil {
		m.guest = o.w.guests.newGuest(who)
	}
	return m
}

// hash is the state in a few bytes.
func (m *machine) hash() uint64 { return mixed(m.order, m.sum+uint64(m.due)) }

// StateHash implements statemachine.Hasher.
func (m *machine) StateHash() uint64 { return m.hash() }

// Apply implements statemachine.StateMachine.
func (m *machine) Apply(e statemachine.Entry) []byte {
	result := m.apply(e)
	if m.guest != nil {
		m.guest.apply(m.count, e)
	}
	return result
}

func (m *machine) apply(e statemachine.Entry) []byte {
	c := decodeCommand(e.Command)
	cell := &m.cells[c.key%keysMax]
	was := cell.register
	m.count++
	result := binary.BigEndian.AppendUint64(make([]byte, 0, 16), m.count)
	switch c.kind {
	case commandSwap:
		if was == c.expect {
			cell.register = c.number
			result = append(result, 1)
		} else {
			result = append(result, 0)
		}
	case commandAppend:
		cell.list = append(cell.list, c.number)
		was = uint32(len(cell.list))
	case commandDue:
		m.due = e.Time + dueAfter
		fallthrough
	default:
		cell.register = c.number
	}
	result = binary.BigEndian.AppendUint32(result, was)
	if c.kind == commandLarge {
		result = make([]byte, m.o.resultMax+1)
	}
	k := int(c.key % keysMax)
	m.sum -= m.sums[k]
	m.sums[k] = cell.hash(k)
	m.sum += m.sums[k]
	m.changed(e.Index, uint64(c.number)<<8|uint64(c.kind))
	m.o.executed(m, c, e, result)
	return result
}

func (m *machine) changed(index, what uint64) {
	if index <= m.index {
		m.o.w.fail(checkApplyOrder, "server %d applies entry %d after entry %d", m.who, index, m.index)
	}
	m.index = index
	m.order = mixed(m.order, what^index<<20)
}

// NextDue implements statemachine.Scheduled.
func (m *machine) NextDue() (int64, bool) {
	if m.guest != nil {
		return m.guest.nextDue(m.due)
	}
	return m.due, m.due != 0
}

// Expire implements statemachine.Scheduled.
func (m *machine) Expire(index uint64, nanos int64) {
	m.o.w.saw(sawClockEntry)
	due := m.due != 0 && m.due <= nanos
	if !due && !m.guest.schedules() {
		return
	}
	if due {
		m.due = 0
	}
	m.count++
	m.changed(index, uint64(nanos))
	m.o.expired(m, index)
	if m.guest != nil {
		m.guest.expire(m.count, index, nanos)
	}
}

// Query implements statemachine.StateMachine: the count of changes, a register and a list.
func (m *machine) Query(q []byte) ([]byte, error) {
	if m.guest != nil && len(q) > 0 {
		m.guest.query(m.count, q[1:])
		q = q[:1]
	}
	if len(q) != 1 || q[0] >= keysMax {
		return nil, fmt.Errorf("no key %x", q)
	}
	cell := &m.cells[q[0]]
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 12+4*len(cell.list)), m.count)
	b = binary.BigEndian.AppendUint32(b, cell.register)
	for _, v := range cell.list {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b, nil
}

// Snapshot implements statemachine.StateMachine.
func (m *machine) Snapshot() (statemachine.Snapshot, error) {
	m.o.standsAt(m, "captures a snapshot")
	var b []byte
	for _, v := range [...]uint64{m.index, m.count, m.order, uint64(m.due)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for k := range m.cells {
		c := &m.cells[k]
		b = binary.BigEndian.AppendUint32(b, c.register)
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.list)))
		for _, v := range c.list {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	}
	for i := range m.o.w.plan.StateBytes {
		b = append(b, byte(i)^byte(m.count))
	}
	if m.guest != nil {
		return m.guest.snapshot(m.count, b)
	}
	return statemachine.Encoded(b), nil
}

// Restore implements statemachine.StateMachine.
func (m *machine) Restore(r io.Reader) error {
	theirs := r
	if m.guest != nil {
		own, err := ownPart(r)
		if err != nil {
			return err
		}
		r = own
	}
	var four [4]uint64
	for k := range four {
		if err := binary.Read(r, binary.BigEndian, &four[k]); err != nil {
			return err
		}
	}
	*m = machine{o: m.o, who: m.who, guest: m.guest, index: four[0], count: four[1], order: four[2], due: int64(four[3])}
	for k := range m.cells {
		var two [2]uint32
		if err := binary.Read(r, binary.BigEndian, &two); err != nil {
			return err
		}
		c := &m.cells[k]
		c.register, c.list = two[0], make([]uint32, two[1])
		if err := binary.Read(r, binary.BigEndian, c.list); err != nil {
			return err
		}
		m.sums[k] = c.hash(k)
		m.sum += m.sums[k]
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	for i, got := range rest {
		if got != byte(i)^byte(m.count) {
			m.o.w.fail(checkSnapshot, "server %d group %d is restored with byte %d of %d wrong", m.who, m.o.group, i, len(rest))
		}
	}
	if m.guest != nil {
		m.guest.restore(theirs)
	}
	m.o.standsAt(m, isRestored)
	return nil
}

// batchMachine is the same application, which takes its commands in batches.
type batchMachine struct{ *machine }

// ApplyBatch implements statemachine.BatchApplier.
func (m batchMachine) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	first := m.count + 1
	for i := range entries {
		results[i] = m.apply(entries[i])
	}
	if m.guest != nil {
		m.guest.applyBatch(first, entries)
	}
}

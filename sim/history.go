package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
)

// change is one change of the application, as the first server that made it did.
type change struct {
	index  uint64
	hash   uint64 // of the state behind it
	number uint32 // of the command; 0: something fell due
	result []byte
}

// keyHistory is what a key held after each change of it.
type keyHistory struct {
	versions []keyVersion
	list     []uint32
}

type keyVersion struct {
	count    uint64 // of changes of the whole application
	register uint32
	length   int // of the list
}

// op is one call of a client on its way.
type op struct {
	kind        CallKind
	number      uint32
	key         uint8
	expect      uint32 // what a swap expects
	client      *simClient
	group       *groupOracle
	handle      client.Handle
	consistency raft.Consistency
	invoked     time.Duration
	returned    time.Duration
	floor       uint64 // so many changes somebody had been told of before it was invoked
	own         uint64 // so many its client had been told of
	executed    uint64 // which change it was; 0: none so far
	executedAt  time.Duration
	ended       bool
	refused     bool
	err         error
	result      []byte
}

// reads reports whether a call changes nothing.
func (k *op) reads() bool { return k.kind >= CallRead }

// newOp begins a call.
func (w *world) newOp(kind CallKind, key uint8, g *groupOracle) *op {
	k := &op{kind: kind, number: uint32(len(g.w.oracle.ops) + 1), key: key % keysMax, group: g, invoked: w.now, floor: g.told}
	w.oracle.ops = append(w.oracle.ops, k)
	return k
}

// executed holds what a machine does against what the first one did there.
func (o *groupOracle) executed(m *machine, c command, e statemachine.Entry, result []byte) {
	w := o.w
	ch := change{index: e.Index, hash: m.hash(), number: c.number, result: result}
	if raft.Index(e.Index) > o.commitMax {
		w.fail(checkApplyOrder, "server %d group %d applies entry %d, and %d is committed", m.who, o.group, e.Index, o.commitMax)
	}
	if !o.changed(m, ch) {
		return
	}
	if c.number == 0 || int(c.number) > len(w.oracle.ops) || w.oracle.ops[c.number-1].group != o {
		w.fail(checkPhantom, "server %d group %d executes command %d, which nobody asked for", m.who, o.group, c.number)
		return
	}
	k := w.oracle.ops[c.number-1]
	switch {
	case k.executed != 0:
		w.fail(checkOnce, "group %d executes command %d as change %d, and again as change %d", o.group, c.number, k.executed, m.count)
	case k.refused:
		w.fail(checkRefused, "group %d executes command %d, which was refused: %s", o.group, c.number, firstLine(k.err))
	}
	k.executed, k.executedAt = m.count, w.now
	h, cell := &o.keys[c.key%keysMax], &m.cells[c.key%keysMax]
	if c.kind == commandAppend {
		h.list = append(h.list, c.number)
	}
	h.versions = append(h.versions, keyVersion{m.count, cell.register, len(cell.list)})
}

// expired is executed for a change that falls due.
func (o *groupOracle) expired(m *machine, index uint64) {
	o.changed(m, change{index: index, hash: m.hash()})
}

// changed compares a change with the one of that number, and reports whether it is the first.
func (o *groupOracle) changed(m *machine, ch change) bool {
	n := uint64(len(o.changes))
	switch {
	case m.count == n+1:
		o.changes = append(o.changes, ch)
		return true
	case m.count > n+1:
		o.w.fail(checkApplyOrder, "server %d group %d makes change %d at entry %d, and nobody has made change %d", m.who, o.group, m.count, ch.index, n+1)
	default:
		was := &o.changes[m.count-1]
		if was.index != ch.index || was.hash != ch.hash || was.number != ch.number || !bytes.Equal(was.result, ch.result) {
			o.w.fail(checkMachines, "server %d group %d: change %d is command %d at entry %d with state %016x, elsewhere it was command %d at entry %d with %016x",
				m.who, o.group, m.count, ch.number, ch.index, ch.hash, was.number, was.index, was.hash)
		}
	}
	return false
}

// standsAt holds the whole state of a machine against the state behind that change.
func (o *groupOracle) standsAt(m *machine, what string) {
	switch {
	case m.count == 0:
	case m.count > uint64(len(o.changes)) || o.changes[m.count-1].hash != m.hash():
		o.w.fail(checkSnapshot, "server %d group %d %s at change %d, which is not the state there", m.who, o.group, what, m.count)
	}
	if m.guest != nil {
		m.guest.standsAt(m.count, what)
	}
}

// answer takes a call's end and holds it against what was executed.
func (k *op) answer(result []byte, err error) {
	o, w := k.group, k.group.w
	if k.ended {
		w.fail(checkAnswered, "call %d is answered a second time: %s", k.number, firstLine(err))
		return
	}
	k.ended, k.returned, k.err, k.result = true, w.now, err, slices.Clone(result)
	w.mix(uint64(k.number)<<32 ^ k.executed)
	w.fullNote("call %d, %s of key %d in group %d, ends: %x %s", k.number, k.kind, k.key, o.group, k.result, firstLine(err))
	k.plainEnd()
	if known := k.knows(); k.client != nil {
		k.client.told = max(k.client.told, known)
	}
	switch {
	case err == nil && k.reads():
		k.read(result)
	case err == nil:
		k.done(result)
	case errors.Is(err, client.ErrUnknown):
		w.saw(sawUnknown)
	case errors.Is(err, client.ErrResultTooLarge):
		w.saw(sawResultTooLarge)
		if k.executed == 0 || k.kind != CallLarge {
			w.fail(checkOnce, "call %d has a result that is too large and is change %d", k.number, k.executed)
		}
		o.tell(k.executed)
	case k.reads():
		w.saw(sawReadRefused)
	default:
		k.refused = true
		if errors.Is(err, client.ErrTooLarge) {
			w.saw(sawTooLarge)
		}
		if k.executed != 0 {
			w.fail(checkRefused, "call %d is refused and was executed as change %d: %s", k.number, k.executed, firstLine(err))
		}
	}
}

// done looks at the result of a command.
func (k *op) done(result []byte) {
	o, w := k.group, k.group.w
	switch {
	case k.executed == 0 || len(result) < 8:
		w.fail(checkOnce, "call %d is answered with %x and was never executed", k.number, result)
		return
	case !bytes.Equal(result, o.changes[k.executed-1].result):
		w.fail(checkOnce, "call %d is answered with %x, and its result was %x", k.number, result, o.changes[k.executed-1].result)
	case k.executed <= k.floor:
		w.fail(checkRead, "call %d is change %d, and before it was asked for somebody knew of %d changes", k.number, k.executed, k.floor)
	}
	o.tell(k.executed)
}

// asked looks at the answer to what reads no state. What a status says is the server's own view, which may be old.
func (k *op) asked(result []byte) {
	w := k.group.w
	switch k.kind {
	case CallBarrier:
		w.saw(sawBarrier)
	case CallStatus:
		w.saw(sawStatus)
		var st wire.ClientStatus
		err := (&wire.ClientResponse{Result: result}).ClientValue(&st)
		if err != nil || len(st.Groups) != 1 || st.Groups[0].Group != uint64(k.group.group) || st.Groups[0].Applied > st.Groups[0].Commit {
			w.fail(checkPhantom, "status %d is answered with %+v: %v", k.number, st, err)
		}
	case CallMembers:
		w.saw(sawMembers)
		at, err := client.ParseMembership(result)
		if err != nil || len(at.Membership.Voters) > 0 && !k.group.wasInForce(at) {
			w.fail(checkPhantom, "members %d is answered with %+v: %v", k.number, at, err)
		}
	}
}

// read looks at what a read has seen.
func (k *op) read(result []byte) {
	o, w := k.group, k.group.w
	if k.kind >= CallBarrier {
		k.asked(result)
		return
	}
	if len(result) < 12 {
		w.fail(checkPhantom, "read %d is answered with %x", k.number, result)
		return
	}
	count := binary.BigEndian.Uint64(result)
	if count > uint64(len(o.changes)) {
		w.fail(checkPhantom, "read %d has seen %d changes, and there are %d", k.number, count, len(o.changes))
		return
	}
	if k.kind == CallLocal {
		w.saw(sawLocalRead)
	} else {
		w.saw(sawReadServed)
		if least := k.least(); count < least {
			w.fail(checkRead, "%s read %d has seen %d changes, and it had to see %d", k.consistency, k.number, count, least)
		}
		o.tell(count)
	}
	h := &o.keys[k.key]
	at := sort.Search(len(h.versions), func(i int) bool { return h.versions[i].count > count })
	var want keyVersion
	if at > 0 {
		want = h.versions[at-1]
	}
	got := result[12:]
	same := binary.BigEndian.Uint32(result[8:]) == want.register && len(got) == 4*want.length
	for i := 0; same && i < want.length; i++ {
		same = binary.BigEndian.Uint32(got[4*i:]) == h.list[i]
	}
	if !same {
		w.fail(checkPhantom, "read %d of key %d after %d changes has seen %x, which is not what was there", k.number, k.key, count, result[8:])
	}
	if k.client != nil {
		k.client.known[k.key] = want.register
	}
}

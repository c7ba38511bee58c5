package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// guest is one copy of a user's state machine, inside the simulated application of one server. The application numbers
// its changes; after each of them the guest is held against whichever guest came there first.
type guest struct {
	all       *guests
	who       raft.ServerID
	machine   statemachine.StateMachine
	batcher   statemachine.BatchApplier
	scheduled statemachine.Scheduled
	refused   int // snapshots, since the last one that it took
}

// refusedMax is how many snapshots in a row a machine may refuse, each of which was tried several times, with commands between.
const refusedMax = 3

// entry is what a guest is given: a copy, so that what it keeps of it or does to it is its own.
func (e guestEntry) entry() statemachine.Entry {
	own := e.Entry
	own.Command = bytes.Clone(own.Command)
	return own
}

// forGuest takes the application's own part off a command.
func forGuest(e statemachine.Entry) guestEntry {
	e.Command = e.Command[min(commandBytes, len(e.Command)):]
	return guestEntry{Entry: e}
}

// poison is what a command's bytes become once they are not lent any more.
const poison = 0xdb

func spoil(b []byte) {
	for i := range b {
		b[i] = poison
	}
}

// apply executes the command that was change count of the application.
func (g *guest) apply(count uint64, e statemachine.Entry) {
	if g.batcher != nil {
		g.applyBatch(count, []statemachine.Entry{e})
		return
	}
	entry := forGuest(e)
	lent := entry.entry()
	var result []byte
	if !g.all.call(g, count, &entry, "Apply", func() { result = g.machine.Apply(lent) }) {
		return
	}
	g.all.changed(g, count, &entry, result, true)
	spoil(lent.Command)
}

// applyBatch executes the commands from change first on. The state is known at their end only.
func (g *guest) applyBatch(first uint64, entries []statemachine.Entry) {
	if g.batcher == nil {
		for i := range entries {
			g.apply(first+uint64(i), entries[i])
		}
		return
	}
	lent, results := make([]statemachine.Entry, len(entries)), make([][]byte, len(entries))
	own := make([]guestEntry, len(entries))
	for i := range entries {
		own[i] = forGuest(entries[i])
		lent[i] = own[i].entry()
	}
	last := len(entries) - 1
	what := fmt.Sprintf("ApplyBatch of %d commands", len(entries))
	if !g.all.call(g, first+uint64(last), &own[last], what, func() { g.batcher.ApplyBatch(lent, results) }) {
		return
	}
	for i := range own {
		g.all.changed(g, first+uint64(i), &own[i], results[i], i == last)
		spoil(lent[i].Command)
	}
}

// schedules reports whether the guest acts on time alone.
func (g *guest) schedules() bool { return g != nil && g.scheduled != nil }

// nextDue is the earlier of what the application and the guest have due; own is zero for nothing.
func (g *guest) nextDue(own int64) (nanos int64, ok bool) {
	if g.scheduled == nil {
		return own, own != 0
	}
	g.all.call(g, 0, nil, "NextDue", func() { nanos, ok = g.scheduled.NextDue() })
	if own != 0 && (!ok || own < nanos) {
		return own, true
	}
	return nanos, ok
}

// expire executes what is due. That nothing is due afterwards is part of the machine's promise.
func (g *guest) expire(count, index uint64, nanos int64) {
	entry := guestEntry{Entry: statemachine.Entry{Index: index, Time: nanos}, expire: true}
	if g.scheduled != nil {
		if !g.all.call(g, count, &entry, "Expire", func() { g.scheduled.Expire(index, nanos) }) {
			return
		}
		var due int64
		var ok bool
		if g.all.call(g, count, &entry, "NextDue", func() { due, ok = g.scheduled.NextDue() }) && ok && due <= nanos {
			g.all.fail(guestSchedule, g, count, &entry, nil, "%v: after %s NextDue says %d", statemachine.ErrStillDue, &entry, due)
			return
		}
	}
	g.all.changed(g, count, &entry, nil, true)
}

// query asks the guest, which must not change by it, and must answer what any other one would have answered there.
func (g *guest) query(count uint64, q []byte) {
	lent := bytes.Clone(q)
	var before guestState
	if g.all.hashed || g.all.thorough {
		before = g.all.fingerprint(g)
	}
	var answer guestAnswer
	if !g.all.call(g, count, nil, "Query of "+shown(q), func() {
		result, err := g.machine.Query(lent)
		if err != nil {
			g.all.refused++
			g.all.refusal = err
		}
		answer = guestAnswer{result: string(result), failed: err != nil, who: g.who}
	}) {
		return
	}
	spoil(lent)
	if before.known {
		after := g.all.fingerprint(g)
		if sums := before.apart(after); sums != nil {
			g.all.fail(guestQuery, g, count, nil, sums, "the query %s changed the state of server %d, which %s: hash %016x, and then %016x%s",
				shown(q), g.who, g.all.place(count), sums[0], sums[1], before.bytesApart(after))
			return
		}
	}
	g.all.answered(g, count, q, answer)
}

// snapshot captures the guest's state behind the application's own.
func (g *guest) snapshot(count uint64, own []byte) (statemachine.Snapshot, error) {
	s := &guestSnapshot{guest: g, count: count, own: own}
	s.state = g.all.fingerprint(g)
	var err error
	if !g.all.call(g, count, nil, "Snapshot", func() { s.theirs, err = smtest.TakeSnapshot(g.machine) }) {
		return nil, errGuest
	}
	if err == nil && s.theirs == nil {
		g.all.fail(guestCaptures, g, count, nil, nil, "Snapshot of server %d, which %s, returned neither a snapshot nor an error",
			g.who, g.all.place(count))
		return nil, errGuest
	}
	if err != nil {
		if g.refused++; g.refused >= refusedMax {
			g.all.fail(guestCaptures, g, count, nil, nil, "Snapshot of server %d, which %s, returned an error each of %d times, with commands between, the last time %v",
				g.who, g.all.place(count), g.refused*smtest.SnapshotTries, err)
		}
		g.all.w.note("server %d refuses a snapshot: %v", g.who, err)
		return nil, err
	}
	g.refused = 0
	g.all.snapshots++
	g.all.w.fullNote("server %d captures its state after change %d", g.who, count)
	g.all.w.plainNote("server %d takes a snapshot; it %s", g.who, g.all.plainPlace(count))
	if s.state.known {
		g.all.know(count, s.state)
	}
	return s, nil
}

// errGuest ends what was under way when a guest failed; the run has ended with a reason by then.
var errGuest = fmt.Errorf("sim: the state machine has failed")

// guestSnapshot is a snapshot of the application with its guest: the length of the application's part, that, the guest's.
type guestSnapshot struct {
	guest  *guest
	count  uint64
	own    []byte
	theirs statemachine.Snapshot
	state  guestState // at the capture
}

// WriteTo implements statemachine.Snapshot. What it has written is restored into a new machine, and compared.
func (s *guestSnapshot) WriteTo(w io.Writer) (int64, error) {
	g := s.guest
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(s.own)), uint32(len(s.own)))
	if _, err := w.Write(append(head, s.own...)); err != nil {
		return 0, err
	}
	to := &watched{w: w}
	var n int64
	var err error
	if !g.all.call(g, s.count, nil, "Snapshot.WriteTo", func() { n, err = s.theirs.WriteTo(to) }) {
		return 0, errGuest
	}
	switch {
	case to.err != nil && err == nil:
		g.all.fail(guestSnapshots, g, s.count, nil, nil, "the writer failed (%v), and Snapshot.WriteTo returned no error", to.err)
		return 0, errGuest
	case err != nil && to.err == nil:
		g.all.fail(guestSnapshots, g, s.count, nil, nil, "Snapshot.WriteTo fails: %v", err)
		return 0, errGuest
	case err == nil:
		s.restored(to.written.Bytes())
	}
	return 4 + int64(len(s.own)) + n, err
}

// restored restores what was written into a new machine, long after the capture.
func (s *guestSnapshot) restored(stream []byte) {
	g := s.guest
	fresh := g.all.newGuest(g.who)
	var err error
	if !g.all.call(fresh, s.count, nil, "Restore", func() { err = fresh.machine.Restore(bytes.NewReader(stream)) }) {
		return
	}
	if err != nil {
		g.all.fail(guestSnapshots, g, s.count, nil, nil, "the snapshot of server %d, which %s, cannot be restored: %v", g.who, g.all.place(s.count), err)
		return
	}
	state := g.all.fingerprint(fresh)
	if sums := s.state.apart(state); sums != nil {
		g.all.fail(guestSnapshots, g, s.count, nil, sums,
			"the snapshot of server %d, which %s, gives another state when it is restored into a new machine: hash %016x at the capture, %016x restored%s",
			g.who, g.all.place(s.count), sums[0], sums[1], s.state.bytesApart(state))
	}
}

// Close implements statemachine.Snapshot.
func (s *guestSnapshot) Close() error {
	var err error
	s.guest.all.call(s.guest, s.count, nil, "Snapshot.Close", func() { err = s.theirs.Close() })
	return err
}

// watched keeps what is written, and the first error.
type watched struct {
	w       io.Writer
	written bytes.Buffer
	err     error
}

// Write implements io.Writer.
func (t *watched) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.written.Write(b[:n])
	if t.err == nil {
		t.err = err
	}
	return n, err
}

// ownPart reads the application's part of a snapshot, and leaves the guest's to be read.
func ownPart(r io.Reader) (io.Reader, error) {
	var size uint32
	if err := binary.Read(r, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	own := make([]byte, size)
	_, err := io.ReadFull(r, own)
	return bytes.NewReader(own), err
}

// restore replaces the guest's state. Whether it is the right one standsAt says.
func (g *guest) restore(r io.Reader) {
	var err error
	if g.all.call(g, 0, nil, "Restore", func() { err = g.machine.Restore(r) }) && err != nil {
		g.all.fail(guestSnapshots, g, 0, nil, nil, "server %d cannot restore a snapshot: %v", g.who, err)
	}
	g.all.restores++
	g.all.w.note("server %d restores a snapshot", g.who)
}

// standsAt holds the guest's state against the one behind that change.
func (g *guest) standsAt(count uint64, what string) {
	want := g.all.stateAt(count)
	if !want.known {
		return
	}
	broken := guestStates
	if what == isRestored {
		broken = guestSnapshots
	}
	state := g.all.fingerprint(g)
	if sums := want.apart(state); sums != nil {
		g.all.fail(broken, g, count, nil, sums, "server %d %s, and %s: hash %016x, and there it was %016x%s",
			g.who, what, g.all.place(count), sums[1], sums[0], want.bytesApart(state))
	}
}

package logtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Victim is a Store for Torture: its disk fails, loses power and decays. While no log is open a Victim is a disk and nothing
// else. One that keeps its files in memory is fast enough for thousands of runs.
type Victim interface {
	Store

	// FailCall makes one call into the file system fail, and those after it succeed: the n-th from now on, beginning at 0,
	// of those that change something, or, with reads, of those that only read. Calls of the next Open count.
	FailCall(n int, reads bool)
	// CutPower makes the power go before the n-th call from now on that changes something. Every later one fails.
	CutPower(n int, seed uint64)
	// Tripped reports whether what FailCall or CutPower prepared has happened.
	Tripped() bool

	// Kill ends the process that has the log open, if it is: nothing of it reaches the disk any more, and what it wrote
	// is there for the next one, as the operating system has it. What was prepared is called off, as by all that follows.
	Kill() error
	// LosePower takes away some part of what was not synced, which seed chooses: at the moment of CutPower if that has come,
	// otherwise now.
	LosePower(seed uint64) error
	// Closed says that the log was closed in good order.
	Closed()

	// Copy makes another disk with the same content. No log is open.
	Copy() (Victim, error)
	// Files lists the files of the store, in a fixed order, by names that Edit takes.
	Files() ([]string, error)
	// HoldsSaves reports whether a file is one that saves are written to. After a power cut the end of such a file may be missing without
	// a word where the witness of it is gone, too; what stands in any other file may not.
	HoldsSaves(name string) bool
	// Edit replaces a file's content, durably; nil removes the file.
	Edit(name string, edit func(content []byte) []byte) error
}

// Toll counts what tortures did.
type Toll struct {
	Runs, Lives, Saves, Opens            int
	Closed, Killed, PowerLost, PowerCuts int // ends of lives; a cut came in the middle of a call
	Failed                               int // calls that were made to fail
	Unfinished, Kept                     int // saves that did not return, and those of them that were there afterwards
	Damages                              int // damaged copies of the disk that were looked at
	Refused, Read                        int // of those: refused by Open, and noticed when something was read or saved
	Lost                                 int // or opened, and said of every group that acknowledged saves are missing
	Harmless, Healed                     int // or taken for what they were: nothing of the log, and an end that nobody relied on
}

// Add adds another toll.
func (t *Toll) Add(o Toll) {
	t.Runs, t.Lives, t.Saves, t.Opens = t.Runs+o.Runs, t.Lives+o.Lives, t.Saves+o.Saves, t.Opens+o.Opens
	t.Closed, t.Killed, t.PowerLost, t.PowerCuts = t.Closed+o.Closed, t.Killed+o.Killed, t.PowerLost+o.PowerLost, t.PowerCuts+o.PowerCuts
	t.Failed, t.Unfinished, t.Kept = t.Failed+o.Failed, t.Unfinished+o.Unfinished, t.Kept+o.Kept
	t.Damages, t.Refused, t.Read = t.Damages+o.Damages, t.Refused+o.Refused, t.Read+o.Read
	t.Lost += o.Lost
	t.Harmless, t.Healed = t.Harmless+o.Harmless, t.Healed+o.Healed
}

// String says it in one line.
func (t Toll) String() string {
	return fmt.Sprintf("%d runs, %d lives (%d closed, %d killed, %d without power, %d of these in a call), %d saves (%d unfinished, of which %d kept), "+
		"%d opens, %d failed calls; %d damaged copies: %d refused, %d noticed later, %d lost, %d harmless, %d healed", t.Runs, t.Lives, t.Closed, t.Killed,
		t.PowerLost, t.PowerCuts, t.Saves, t.Unfinished, t.Kept, t.Opens, t.Failed, t.Damages, t.Refused, t.Read, t.Lost, t.Harmless, t.Healed)
}

// Torture runs a store through a few lives that a seed draws: calls of every kind, beside one that fails or a power that
// goes in the middle of one; a good or a bad end; and damage of single files, each on a copy of the disk. It holds the
// store to this:
//
//   - An undamaged store opens, and each group is what the calls that returned have made of it; of the one that did not
//     return, a group has nothing or its first updates, whole.
//   - No error is one of damage unless there is some.
//   - A damaged store says so, in Open or when what is damaged is read, with an error that matches ErrDamaged; or it opens and says Lost of every group, also
//     of one that was never saved (persistentlog.State). Or it is as if nothing had happened. Or, where power was lost since the log was last closed in good order, its end is that of an
//     earlier save, which no longer matters: a witness of the end that is not synced with each save may have gone with it.
//   - What such a store says, it also says after more was saved to it and it was opened again.
//   - Nothing panics.
//
// The error is the first of these that was broken.
func Torture(factory func() (Victim, error), seed uint64) (toll Toll, err error) {
	t := &torture{draw: rand.New(rand.NewPCG(seed, 4)), earlier: make(map[string][]byte)}
	t.toll.Runs = 1
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		toll = t.toll
		if err != nil {
			err = fmt.Errorf("seed %d, life %d: %w", seed, t.toll.Lives, err)
			if t.victim != nil {
				_ = t.victim.Kill() // so that nothing of a failed run goes on beside the next one
			}
		}
	}()
	if t.victim, err = factory(); err != nil {
		return t.toll, err
	}
	t.script = &script{store: t.victim, groups: make(map[raft.GroupID]*model)}
	t.durable()
	heavy := t.draw.IntN(4) == 0
	for range 3 + t.draw.IntN(3) {
		t.toll.Lives++
		t.large = heavy && t.draw.IntN(2) == 0
		if err := t.live(); err != nil {
			return t.toll, err
		}
		for range t.draw.IntN(4) {
			if err := t.decay(); err != nil {
				return t.toll, err
			}
		}
		if err := t.remember(); err != nil {
			return t.toll, err
		}
		if err := t.revive(); err != nil {
			return t.toll, err
		}
	}
	return t.toll, t.end(nil)
}

// torture is one run.
type torture struct {
	*script
	victim Victim
	draw   *rand.Rand
	toll   Toll
	large  bool // saves are large at times, so that files fill up

	cutting bool // the power goes in this life, if it lasts long enough

	// past is what the groups were after each save since the witness was certainly durable, the last one first to be
	// looked at. A power cut and damage together may bring any of them back.
	past []map[raft.GroupID]*model
	// powerLost says that the power was lost and the log not opened since: what the witness did not sync is gone.
	powerLost bool
	// pending are what the last save would have made of its groups if it had returned: each group's states, one after
	// the other. A nil model is a group that is not there.
	pending map[raft.GroupID][]*model

	earlier map[string][]byte // files as they were after an earlier life
}

// durable says that everything, and the witness of it, has been synced.
func (t *torture) durable() {
	t.past, t.powerLost = t.past[:0], false
	t.noted()
}

// noted remembers what the groups are now.
func (t *torture) noted() {
	now := make(map[raft.GroupID]*model)
	for id, m := range t.groups {
		now[id] = m.clone()
	}
	t.past = append(t.past, now)
}

// excused judges the error of a call: a disk that was failing may make any call fail, but nothing of it is damage.
func (t *torture) excused(what string, err error) error {
	switch {
	case errors.Is(err, persistentlog.ErrDamaged):
		return fmt.Errorf("%s: nothing is damaged: %w", what, err)
	case !t.victim.Tripped():
		return fmt.Errorf("%s: nothing was wrong: %w", what, err)
	}
	return nil
}

// live is one life: trouble is prepared, the log opened if it is not, and used until it fails or is ended.
func (t *torture) live() error {
	t.cutting = false
	switch n := t.draw.IntN(10); {
	case n < 3:
		t.cutting = true
		t.victim.CutPower(t.draw.IntN(1+t.draw.IntN(300)), t.draw.Uint64())
	case n < 5:
		t.victim.FailCall(t.draw.IntN(1+t.draw.IntN(200)), false)
	case n < 6:
		t.victim.FailCall(t.draw.IntN(1+t.draw.IntN(60)), true)
	}
	alive := true
	if t.log == nil {
		t.toll.Opens++
		if err := t.open(); err != nil {
			if err := t.excused("open", err); err != nil {
				return err
			}
			alive = false
		} else {
			t.powerLost = false // the witness was written, if not synced
		}
	}
	for steps := 3 + t.draw.IntN(30); alive && steps > 0; steps-- {
		var err error
		if alive, err = t.call(); err != nil {
			return err
		}
	}
	if t.victim.Tripped() && !t.cutting {
		t.toll.Failed++
	}
	return t.die()
}

// die ends a life in good order, or not.
func (t *torture) die() error {
	cut := func() bool { return t.cutting && t.victim.Tripped() }
	n := t.draw.IntN(3)
	if n == 0 && t.log != nil {
		err := t.log.Close()
		t.log = nil
		if err != nil {
			if err := t.excused("close", err); err != nil {
				return err
			}
		}
		if !t.victim.Tripped() {
			t.victim.Closed()
			t.toll.Closed++
			t.durable()
			return nil
		}
	}
	t.log = nil
	if n < 2 && !cut() {
		t.toll.Killed++
		return t.victim.Kill()
	}
	t.toll.PowerLost++
	if cut() {
		t.toll.PowerCuts++
	}
	t.powerLost = true
	return t.victim.LosePower(t.draw.Uint64())
}

// call makes one call. alive is false when the log is of no use any more.
func (t *torture) call() (alive bool, err error) {
	id := raft.GroupID(1 + t.draw.IntN(3))
	switch n := t.draw.IntN(20); {
	case n < 13:
		return t.callSave()
	case n < 15:
		m, ok := t.groups[id]
		if !ok {
			return true, nil
		}
		through := raft.Index(t.draw.Uint64N(uint64(m.snapshot.Index) + 1))
		m.compacted(through)
		// A log may say so on disk before the next save, and that save be lost by itself.
		t.past[len(t.past)-1][id].compacted(through)
		if err := t.log.Compact(id, through); err != nil {
			return false, t.excused("compact", err)
		}
		return true, nil
	case n < 19:
		return t.callRead(id)
	}
	before := t.states(id)
	if err := t.log.Destroy(id); err != nil {
		t.pending = map[raft.GroupID][]*model{id: append(before, nil)}
		return false, t.excused("destroy", err)
	}
	if t.cutting && t.victim.Tripped() {
		t.pending = map[raft.GroupID][]*model{id: append(before, nil)}
		return false, nil
	}
	delete(t.groups, id)
	t.noted()
	return true, nil
}

func (t *torture) callSave() (alive bool, err error) {
	updates := t.script.draw(t.draw)
	if t.large && t.draw.IntN(3) == 0 {
		id := raft.GroupID(1 + t.draw.IntN(3))
		term := max(t.group(id).lastTerm(), 1)
		n := 40_000 << (t.draw.IntN(5) / 4 * 3) // 120 KB in all; at times a MB, which a log may treat as something else
		updates = []persistentlog.Update{t.append(id).Commands(term, n).Commands(term, n/2, n/2).Commands(term, n).Update()}
	}
	for _, u := range updates {
		t.hold(u.Blocks)
	}
	err = t.log.Save(updates)
	// The power may have gone while a save that returned was on its way: then nobody heard of it.
	if err == nil && !(t.cutting && t.victim.Tripped()) {
		t.record(updates)
		t.noted()
		t.toll.Saves++
		return true, nil
	}
	t.toll.Unfinished++
	t.pending = make(map[raft.GroupID][]*model)
	for _, u := range updates {
		states := t.pending[u.Group]
		if states == nil {
			states = t.states(u.Group)
		}
		m := newModel()
		if last := states[len(states)-1]; last != nil {
			m = last.clone()
		}
		m.apply(u)
		t.pending[u.Group] = append(states, m)
	}
	if err == nil {
		return false, nil
	}
	return false, t.excused("save", err)
}

// callRead reads a group's state and some of its entries. A read that fails harms nobody.
func (t *torture) callRead(id raft.GroupID) (alive bool, err error) {
	m := t.group(id)
	state, err := t.log.Load(id)
	if err != nil {
		return true, t.excused("load", err)
	}
	if err := m.checkState(state); err != nil {
		return false, fmt.Errorf("group %d: load: %w", id, err)
	}
	if state.First == state.Next {
		return true, nil
	}
	from := state.First + raft.Index(t.draw.Uint64N(uint64(state.Next-state.First)))
	to := from + 1 + raft.Index(t.draw.Uint64N(uint64(state.Next-from)))
	limit := t.draw.IntN(5000)
	blocks, err := t.log.Blocks(id, from, to, limit)
	if err != nil {
		return true, t.excused("blocks", err)
	}
	if err := t.checkRead(id, m, blocks, from, to, limit); err != nil {
		return false, fmt.Errorf("group %d: blocks: %w", id, err)
	}
	t.hold(blocks)
	return true, nil
}

// revive opens what the end of a life has left, undamaged, and finds out what became of the save that did not return.
func (t *torture) revive() error {
	t.toll.Opens++
	if err := t.open(); err != nil {
		return fmt.Errorf("nothing is damaged: %w", err)
	}
	t.powerLost = false
	chosen, noticed, err := t.match(t.options())
	if err != nil {
		return err
	}
	if noticed != nil {
		return fmt.Errorf("nothing is damaged: %w", noticed)
	}
	kept := false
	for id := range t.pending {
		before, after := t.groups[id], chosen[id]
		if before != nil {
			before = before.clone()
			before.reopened()
		}
		kept = kept || (before == nil) != (after == nil) || before != nil && t.verifyGroup(id, before) != nil
	}
	if kept {
		t.toll.Kept++
	} else {
		t.past = t.past[:len(t.past)-1] // it is the same moment
	}
	t.groups, t.pending = chosen, nil
	t.noted()
	switch t.draw.IntN(4) {
	case 0:
		t.log = nil
		return t.victim.Kill()
	case 1:
		err := t.log.Close()
		t.log = nil
		if err != nil {
			return fmt.Errorf("close: %w", err)
		}
		t.victim.Closed()
		t.durable()
	}
	return nil
}

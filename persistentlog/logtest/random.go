package logtest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// step is one call of a random history, as numbers that mean something in every state: so a history stays a history when
// steps are taken out of it, and a failing one can be made short.
type step struct {
	what uint8
	seed uint64
}

const (
	randomRuns  = 40
	randomSteps = 60
)

// random compares random histories with the model. A history that fails is shortened before it is reported.
func random(factory Factory) error {
	for seed := range uint64(randomRuns) {
		draw := rand.New(rand.NewPCG(seed, 2))
		steps := make([]step, randomSteps)
		for i := range steps {
			steps[i] = step{uint8(draw.IntN(100)), draw.Uint64()}
		}
		err := replay(factory, steps, nil)
		if err == nil || errors.Is(err, errNotOffered) {
			continue
		}
		steps = shorten(steps, func(steps []step) bool { return replay(factory, steps, nil) != nil })
		var transcript strings.Builder
		err = replay(factory, steps, &transcript)
		return fmt.Errorf("seed %d: %w\nafter %d calls:\n%s", seed, err, len(steps), transcript.String())
	}
	return nil
}

// shorten takes out of a failing history whatever it also fails without: halves first, single steps last.
func shorten(steps []step, fails func([]step) bool) []step {
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			if without := slices.Concat(steps[:at], steps[at+size:]); fails(without) {
				steps = without
			} else {
				at += size
			}
		}
	}
	return steps
}

func replay(factory Factory, steps []step, transcript *strings.Builder) error {
	return once(func(s *script) error {
		for i, st := range steps {
			what, err := s.play(st)
			if transcript != nil {
				fmt.Fprintf(transcript, "  %d: %s\n", i, what)
			}
			if err == nil {
				err = s.verify()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		return s.reload()
	})(factory)
}

// play makes one call.
func (s *script) play(st step) (what string, err error) {
	draw := rand.New(rand.NewPCG(st.seed, 3))
	id := raft.GroupID(1 + draw.IntN(3))
	switch {
	case st.what < 55:
		updates := s.draw(draw)
		return "save of " + describe(updates), s.save(updates...)
	case st.what < 65:
		through := raft.Index(draw.Uint64N(uint64(s.group(id).snapshot.Index) + 1))
		return fmt.Sprintf("compact of group %d through %d", id, through), s.compact(id, through)
	case st.what < 75:
		return s.playRead(draw, id)
	case st.what < 83:
		return "close and open", s.reopen()
	case st.what < 90:
		return "crash", ignoreNotOffered(s.crash())
	case st.what < 97:
		updates := s.draw(draw)
		return "crash within the save of " + describe(updates), ignoreNotOffered(s.tryCrashInSave(updates, draw.Uint64()))
	}
	return fmt.Sprintf("destroy of group %d", id), s.destroy(id)
}

func ignoreNotOffered(err error) error {
	if errors.Is(err, errNotOffered) {
		return nil
	}
	return err
}

// tryCrashInSave leaves the log open where the store cannot crash.
func (s *script) tryCrashInSave(updates []persistentlog.Update, seed uint64) error {
	if _, ok := s.store.(SaveCrasher); !ok {
		return errNotOffered
	}
	return s.crashInSave(updates, seed)
}

func (s *script) playRead(draw *rand.Rand, id raft.GroupID) (string, error) {
	m := s.group(id)
	if m.firstMin == m.next() {
		return fmt.Sprintf("read of the empty group %d", id), s.refused(id, m.next(), m.next()+1, persistentlog.ErrUnavailable)
	}
	from := m.firstMin + raft.Index(draw.Uint64N(uint64(m.next()-m.firstMin)))
	to := from + 1 + raft.Index(draw.Uint64N(uint64(m.next()-from)))
	limit := draw.IntN(2000)
	_, err := s.read(id, m, from, to, limit)
	return fmt.Sprintf("blocks of group %d from %d to %d, %d bytes", id, from, to, limit), err
}

// draw makes the updates of one save: mostly of one group, sometimes of all, sometimes several of one.
func (s *script) draw(draw *rand.Rand) []persistentlog.Update {
	ahead := &script{groups: maps.Clone(s.groups)} // as the updates so far leave it
	var updates []persistentlog.Update
	for _, n := range draw.Perm(3)[:1+draw.IntN(3)] {
		id := raft.GroupID(n + 1)
		for {
			u := ahead.drawUpdate(draw, id)
			updates = append(updates, u)
			if draw.IntN(4) > 0 {
				break
			}
			m := ahead.group(id).clone()
			m.apply(u)
			ahead.groups[id] = m
		}
	}
	return updates
}

func (s *script) drawUpdate(draw *rand.Rand, id raft.GroupID) persistentlog.Update {
	m := s.group(id)
	u := persistentlog.Update{Group: id}
	if draw.IntN(3) == 0 {
		u.Hard = &raft.HardState{Term: m.hard.Term + 1, Vote: raft.ServerID(draw.IntN(4)), Lost: m.hard.Lost || draw.IntN(20) == 0}
	}
	if draw.IntN(10) == 0 && len(m.birth.Membership.Voters) == 0 {
		u.Birth = &raft.Birth{Membership: membership(3), Complete: draw.IntN(2) == 0}
	}
	if draw.IntN(12) == 0 {
		meta := snapshotMeta(id, m.snapshot.Index+1+raft.Index(draw.IntN(30)), m.lastTerm()+raft.Term(draw.IntN(2)))
		meta.Term = max(meta.Term, 1)
		u.Snapshot, u.Installed = &meta, true
		if draw.IntN(2) == 0 {
			u.Blocks = (&Builder{Group: id, Next: meta.Index + 1, Chain: meta.Chain}).Commands(meta.Term, 3, 3).Blocks
		}
		return u
	}
	if draw.IntN(4) > 0 {
		u.Blocks = s.drawBlocks(draw, id).Blocks
	}
	if lowest := max(m.snapshot.Index, m.base); len(u.Blocks) == 0 && lowest < m.next() && draw.IntN(3) == 0 {
		u.Snapshot = s.taken(id, lowest+raft.Index(draw.Uint64N(uint64(m.next()-lowest))))
	}
	if next := m.next(); len(u.Blocks) == 0 && m.commit+1 < next && draw.IntN(2) == 0 {
		u.Commit = m.commit + 1 + raft.Index(draw.Uint64N(uint64(next-m.commit-1)))
	}
	return u
}

func (m *model) lastTerm() raft.Term {
	if len(m.entries) > 0 {
		return m.entries[len(m.entries)-1].term
	}
	return m.snapshot.Term
}

// drawBlocks appends, or replaces from somewhere behind what is committed.
func (s *script) drawBlocks(draw *rand.Rand, id raft.GroupID) *Builder {
	m := s.group(id)
	from := m.next()
	if lowest := max(m.base, m.firstMin, m.commit+1, m.snapshot.Index+1); lowest < from && draw.IntN(3) == 0 {
		from = lowest + raft.Index(draw.Uint64N(uint64(from-lowest)))
	}
	term := max(m.lastTerm(), 1)
	if from < m.next() || draw.IntN(4) == 0 {
		term++
	}
	b := s.from(id, from)
	for range 1 + draw.IntN(3) {
		switch draw.IntN(4) {
		case 0:
			b.Single(term, raft.KindMembership)
		case 1:
			b.Single(term, raft.KindNoOp)
			term += raft.Term(draw.IntN(2))
		default:
			sizes := make([]int, 1+draw.IntN(6))
			for i := range sizes {
				sizes[i] = draw.IntN(300)
			}
			b.Commands(term, sizes...)
		}
	}
	return b
}

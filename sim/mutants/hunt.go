package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// hunt is one run of all bugs. It goes in rounds, each deeper than the one before, so that what is found soon is told soon,
// and nothing that is easily found waits behind what is not.
type hunt struct {
	o     options
	b     builder
	began time.Time
	seeds atomic.Uint64 // that were begun

	mu       sync.Mutex
	suspects []*suspect
	errs     []error
	found    int    // bugs found from every start
	sound    string // what is known of the code without any bug
	tty      bool
}

// suspect is a bug and what is known of it.
type suspect struct {
	bug
	binary string
	finds  []*find // by start
	tried  []uint64
	failed bool
}

// depths are how far the rounds look, before the last one, which goes to the end.
var depths = []uint64{10, 60, 300}

func newHunt(o options, b builder, bugs []bug) *hunt {
	h := &hunt{o: o, b: b, began: time.Now()}
	for i := range bugs {
		h.suspects = append(h.suspects, &suspect{bug: bugs[i], finds: make([]*find, o.starts), tried: make([]uint64, o.starts)})
	}
	if info, err := os.Stderr.Stat(); err == nil {
		h.tty = info.Mode()&os.ModeCharDevice != 0
	}
	return h
}

func (h *hunt) start(k int) uint64 { return uint64(k)*startGap + 1 }

// run hunts every bug, and then runs the seeds that were needed on the code without any. The error says what went wrong, and
// which bugs are still at large.
func (h *hunt) run() error {
	h.say("%d known bugs, each from %d starts, each to be found within %d seeds; %d at a time", len(h.suspects), h.o.starts, h.o.runs, h.o.workers)
	for _, depth := range append(slices.Clone(depths), h.o.runs) {
		h.round(min(depth, h.o.runs))
	}
	h.checkSound()
	for _, s := range h.suspects {
		if !s.failed && !s.done() {
			h.errs = append(h.errs, fmt.Errorf("%s survives %d seeds: a hole in the simulator, or no bug", s.name, h.o.runs))
		}
	}
	return errors.Join(h.errs...)
}

func (h *hunt) round(depth uint64) {
	var work []func() error
	for _, s := range h.suspects {
		switch {
		case s.failed || s.done():
		case s.binary == "":
			work = append(work, func() error { return h.first(s, depth) })
		default:
			for k := range h.o.starts {
				work = append(work, func() error { return h.seek(s, k, depth) })
			}
		}
	}
	if len(work) > 0 {
		h.say("up to seed %d of each start: %d bugs at large", depth, len(h.suspects)-h.found)
	}
	h.share(work)
}

// share does pieces of work, several at a time.
func (h *hunt) share(work []func() error) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range h.o.workers {
		group.Go(func() {
			for {
				k := int(next.Add(1)) - 1
				if k >= len(work) {
					return
				}
				if err := work[k](); err != nil {
					h.mu.Lock()
					h.errs = append(h.errs, err)
					h.mu.Unlock()
					h.say("%v", err)
				}
			}
		})
	}
	group.Wait()
}

// first compiles a bug and begins with all of its starts.
func (h *hunt) first(s *suspect, depth uint64) (err error) {
	if s.binary, err = h.b.build(&s.bug); err != nil {
		s.failed = true
		return err
	}
	for k := range h.o.starts {
		if err := h.seek(s, k, depth); err != nil {
			return err
		}
	}
	return nil
}

// seek goes on with one start of a bug, up to a depth.
func (h *hunt) seek(s *suspect, k int, depth uint64) error {
	h.mu.Lock()
	skip := s.failed || s.finds[k] != nil || s.tried[k] >= depth
	h.mu.Unlock()
	if skip {
		return nil
	}
	f, err := seek(s.binary, h.b.root, h.start(k)+s.tried[k], h.start(k)+depth, h.tick)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		s.failed = true
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.finds[k], s.tried[k] = f, depth
	if !s.done() {
		return nil
	}
	h.found++
	h.line("%3d of %d  %-40s %-22s seed %s", h.found, len(h.suspects), s.name, s.rules(), s.seeds(h))
	if h.o.keep {
		return nil
	}
	return os.Remove(s.binary)
}

func (s *suspect) done() bool { return !slices.Contains(s.finds, nil) }

// piece is how many seeds of the sound code are run at once.
const piece = 25

// checkSound runs the seeds that finding the bugs has taken, of each start, without any bug.
func (h *hunt) checkSound() {
	binary, err := h.b.build(nil)
	if err != nil {
		h.errs = append(h.errs, err)
		return
	}
	var work []func() error
	var total uint64
	for k := range h.o.starts {
		most := uint64(0)
		for _, s := range h.suspects {
			if s.finds[k] != nil {
				most = max(most, s.finds[k].Seed-h.start(k)+1)
			} else {
				most = max(most, s.tried[k])
			}
		}
		total += most
		for from := uint64(0); from < most; from += piece {
			work = append(work, func() error {
				f, err := seek(binary, h.b.root, h.start(k)+from, h.start(k)+min(from+piece, most), h.tick)
				if err == nil && f != nil {
					err = fmt.Errorf("without any bug seed %d breaks check %d, %s: %s", f.Seed, f.Check, f.Name, f.Text)
				}
				return err
			})
		}
	}
	h.say("the same seeds, %d of them, without any bug", total)
	failed := len(h.errs)
	h.share(work)
	h.sound = fmt.Sprintf("without any bug, the %d seeds that finding them took at most break no rule", total)
	if len(h.errs) > failed {
		h.sound = "without any bug, some of the same seeds fail"
	}
}

// tick counts a seed, and shows on a terminal that something happens.
func (h *hunt) tick() {
	n := h.seeds.Add(1)
	if h.tty && n%8 == 0 {
		h.mu.Lock()
		defer h.mu.Unlock()
		fmt.Fprintf(os.Stderr, "\r%8v  %d found, %d at large, %d seeds run\x1b[K", time.Since(h.began).Round(time.Second), h.found, len(h.suspects)-h.found, n)
	}
}

// say writes a line of progress.
func (h *hunt) say(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line(format, args...)
}

// line is say for who holds mu.
func (h *hunt) line(format string, args ...any) {
	if h.tty {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
	fmt.Fprintf(os.Stderr, "%8v  %s\n", time.Since(h.began).Round(time.Second), fmt.Sprintf(format, args...))
}

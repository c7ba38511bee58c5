package server

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrStuck is matched by what Close returns when something does not come back in time. Close may then be called again.
var ErrStuck = errors.New("server: close: still under way")

// Close stops the server within Options.CloseTimeout. Where it leads, leadership is handed over first, to the best successor
// that there is, within two of the longest election timeouts: the others go on without an election timeout, and clients with
// sessions notice nothing. Then everybody who waits is answered: what was proposed is unknown, what was not looked at yet is
// refused. It closes the transport and the log. If something does not come back in time, a
// system call or the application, the error names it and matches ErrStuck; the log is then left open, because a call
// into it may be under way. Close may be called again, and waits once more for what was stuck; when all of it has ended
// the log is closed. What was closed stays closed: Close then returns what it returned.
func (s *Server) Close() error { return s.close(true, true) }

// CloseNow is Close by a server that hands over nothing: what it leads is without a leader until an election timeout has passed,
// as after a crash. It is for tests, and for a process that has no time left.
func (s *Server) CloseNow() error { return s.close(true, false) }

func (s *Server) close(parts, handOver bool) error {
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	if s.closed {
		return s.closeErr
	}
	end, stopEnd := s.clock.NewTimer(s.options.CloseTimeout)
	defer stopEnd()
	timer, stop := s.clock.NewTimer(s.options.CloseTimeout - min(s.options.CloseTimeout/4, closeLastMax))
	defer stop()
	c := &closer{c: timer, end: end}
	if pending := s.stuck; pending != nil {
		for _, p := range pending {
			c.wait(p.done, p.why)
		}
	} else {
		if handOver {
			s.handOver(c)
		}
		s.closeErr = s.shutDown(c, parts)
	}
	if s.stuck = c.last(); len(s.stuck) > 0 {
		return stuckError(s.stuck)
	}
	if parts {
		if err := s.options.Log.Close(); err != nil {
			s.closeErr = errors.Join(s.closeErr, fmt.Errorf("close the log: %w", err))
		}
	}
	s.closed = true
	if s.closeErr != nil {
		s.closeErr = fmt.Errorf("server: close: %w", s.closeErr)
	}
	return s.closeErr
}

// ending is something that has to come to its end before the log can be closed.
type ending struct {
	done <-chan struct{}
	why  func() []error // what is stuck in it
}

// closeLastMax is how much of a Close's time, at most, is kept for the parts that were told to end after one that is stuck.
const closeLastMax = time.Second

// closer counts down the time that one call of Close has. Parts are told to end, and waited for, one after the other, until c. Where one of
// them is stuck, those behind it have the time that is left until end: which of them are stuck, too, is not to be guessed from
// what has only just begun to end.
type closer struct {
	c     <-chan time.Time
	end   <-chan time.Time
	late  bool
	stuck []ending // or were begun late: last says
}

// wait waits for done, and notes what was waited for if it does not come in time.
func (c *closer) wait(done <-chan struct{}, why func() []error) bool {
	if !c.late {
		select {
		case <-done:
			return true
		case <-c.c:
			c.late = true
		}
	}
	select {
	case <-done:
		return true
	default:
		c.stuck = append(c.stuck, ending{done, why})
		return false
	}
}

func (c *closer) waitFor(done <-chan struct{}, what string, args ...any) bool {
	return c.wait(done, func() []error { return []error{fmt.Errorf(what, args...)} })
}

// last waits for what has not ended yet, and returns what does not.
func (c *closer) last() []ending {
	over := false
	return slices.DeleteFunc(c.stuck, func(e ending) bool {
		if !over {
			select {
			case <-e.done:
			case <-c.end:
				over = true
			}
		}
		select {
		case <-e.done:
			return true
		default:
			return false
		}
	})
}

func stuckError(stuck []ending) error {
	all := []error{ErrStuck}
	for _, e := range stuck {
		all = append(all, e.why()...)
	}
	return errors.Join(all...)
}

// after runs f beside and closes the channel when it returned.
func after(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// shutDown tells everything to end and waits for it. The error is that of a part which has ended badly.
func (s *Server) shutDown(c *closer, parts bool) (failed error) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	groups := s.sorted()
	for _, g := range groups {
		g.inbox.stop(ErrClosed)
		g.wake()
	}
	for _, g := range groups {
		c.waitFor(g.ended, "group %d does not come to the end of a turn", g.id)
	}
	c.waitFor(after(s.clients.close), "a client's connection does not end")
	if parts {
		var err error
		if c.waitFor(after(func() { err = s.options.Transport.Close() }), "the transport does not close") && err != nil {
			failed = fmt.Errorf("close the transport: %w", err)
		}
	}
	s.writer.drain()
	c.waitFor(s.writer.done, "a save is stuck in the log")
	s.elastic.close()
	c.wait(after(s.elastic.done.Wait), func() []error { return busyIn(groups) })
	s.alarm.close()
	c.waitFor(after(s.scheduler.close), "a turn has not ended")
	s.chunks.close()
	s.hub.close()
	c.waitFor(s.logged, "the logger does not return")
	c.waitFor(after(func() { s.opening <- struct{}{}; <-s.opening }), "a group that is being opened is stuck in the log")
	s.doneOnce.Do(func() { close(s.done) })
	return failed
}

// busyIn names what runs beside the loops of groups and does not end.
func busyIn(groups []*group) []error {
	all := []error{errors.New("work beside the loops has not ended")}
	for _, g := range groups {
		if g.apply.busy() {
			all = append(all, fmt.Errorf("the state machine of group %d does not return", g.id))
		}
		if g.files.busy() {
			all = append(all, fmt.Errorf("a snapshot of group %d is being written", g.id))
		}
	}
	return all
}

func (l *lane) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

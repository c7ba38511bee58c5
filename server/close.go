package server

import (
	"errors"
	"fmt"
	"time"
)

// Close stops the server within Options.CloseTimeout and answers everybody who waits: what was proposed is unknown, what
// was not looked at yet is refused. It closes the transport and the log. If something does not come back in time, a
// system call or the application, the error names it; the log is then left open, because a call into it may be under way.
func (s *Server) Close() error { return s.close(true) }

func (s *Server) close(parts bool) error {
	s.closeOnce.Do(func() { s.closeErr = s.shutDown(parts) })
	return s.closeErr
}

// closer counts down the time that Close has.
type closer struct {
	c     <-chan time.Time
	late  bool
	stuck []error
}

// wait waits for done, and names what was waited for if time runs out.
func (c *closer) wait(done <-chan struct{}, what string, args ...any) bool {
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
		c.stuck = append(c.stuck, fmt.Errorf(what, args...))
		return false
	}
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

func (s *Server) shutDown(parts bool) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	timer, stop := s.clock.NewTimer(s.options.CloseTimeout)
	defer stop()
	c := &closer{c: timer}
	groups := s.sorted()
	for _, g := range groups {
		g.inbox.stop(ErrClosed)
		g.wake()
	}
	for _, g := range groups {
		c.wait(g.ended, "group %d does not come to the end of a turn", g.id)
	}
	c.wait(after(s.clients.close), "a client's connection does not end")
	var closeErr error
	if parts {
		var err error
		if c.wait(after(func() { err = s.options.Transport.Close() }), "the transport does not close") && err != nil {
			closeErr = fmt.Errorf("close the transport: %w", err)
		}
	}
	s.writer.drain()
	quiet := c.wait(s.writer.done, "a save is stuck in the log")
	s.elastic.close()
	if !c.wait(after(s.elastic.done.Wait), "work beside the loops has not ended") {
		quiet = false
		for _, g := range groups {
			if g.apply.busy() {
				c.stuck = append(c.stuck, fmt.Errorf("the state machine of group %d does not return", g.id))
			}
			if g.files.busy() {
				c.stuck = append(c.stuck, fmt.Errorf("a snapshot of group %d is being written", g.id))
			}
		}
	}
	s.alarm.close()
	c.wait(after(s.scheduler.close), "a turn has not ended")
	s.chunks.close()
	s.hub.close()
	c.wait(s.logged, "the logger does not return")
	if !c.wait(after(func() { s.opening <- struct{}{}; <-s.opening }), "a group that is being opened is stuck in the log") {
		quiet = false
	}
	if parts && quiet {
		if err := s.options.Log.Close(); err != nil {
			closeErr = errors.Join(closeErr, fmt.Errorf("close the log: %w", err))
		}
	}
	s.doneOnce.Do(func() { close(s.done) })
	if err := errors.Join(append(c.stuck, closeErr)...); err != nil {
		return fmt.Errorf("server: close: %w", err)
	}
	return nil
}

func (l *lane) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

package servertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// ErrStopped is matched by what calls of a Cluster return when so many replicas have stopped for good, because their machines
// panicked for instance, that the group cannot go on. It begins with the first of them.
var ErrStopped = errors.New("servertest: too many replicas have stopped for the group to go on")

// stoppedError is why a replica has stopped. Its text has of a panic's stack what is not oarlock's own; what it wraps has all of it.
type stoppedError struct {
	server raft.ServerID
	err    error
}

func (e *stoppedError) Error() string {
	text, frames := panicked(e.err)
	for _, f := range frames {
		text += "\n    " + f
	}
	return fmt.Sprintf("servertest: server %d has stopped: %s", e.server, text)
}

func (e *stoppedError) Unwrap() error { return e.err }

// inShort is the failure in one line, with the place of a panic.
func (e *stoppedError) inShort() string {
	text, frames := panicked(e.err)
	if len(frames) > 0 {
		text += ", in " + frames[0]
	}
	return fmt.Sprintf("server %d: %s", e.server, text)
}

// panicked splits an error that ends with a panic's stack into what was said, and the places between the panic and the server that
// called the machine, the innermost first. Of another error there are no places.
func panicked(err error) (text string, frames []string) {
	text, stack, ok := strings.Cut(err.Error(), "\ngoroutine ")
	if !ok {
		return text, nil
	}
	lines, thrown := strings.Split(stack, "\n"), false
	for k := 1; k+1 < len(lines); k += 2 { // a function, and below it its place
		function, place := lines[k], strings.TrimSpace(lines[k+1])
		switch {
		case strings.HasPrefix(function, "panic("):
			thrown = true
		case thrown && strings.HasPrefix(function, "github.com/oarlock/oarlock/server."):
			return text, frames
		case thrown && !strings.HasPrefix(function, "runtime."):
			if at := strings.LastIndexByte(function, '('); at > 0 {
				function = function[:at]
			}
			place, _, _ = strings.Cut(place, " +0x")
			frames = append(frames, function+" at "+place)
		}
	}
	return text, frames
}

// teller passes failures on to the test while that takes them: an error after the end of a test would be a panic.
type teller struct {
	mu   sync.Mutex
	test T // nil: nobody is to be told, or the test is over
}

func (t *teller) tell(err error) (told bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.test != nil {
		t.test.Errorf("%v", err)
	}
	return t.test != nil
}

func (t *teller) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.test = nil
}

// Failures are why replicas have stopped for good so far, the first one first: what their machines threw or said. With Start each of
// them is an error of the test as well, unless Options.FailuresExpected is set. Servers that were stopped or crashed are none.
func (c *Cluster) Failures() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.failures)
}

// watch waits until a server can do nothing more, and makes known why if nobody has stopped it.
func (m *member) watch(s *server.Server) {
	<-s.Done()
	err := s.GroupErr(raft.DefaultGroup)
	if err == nil || errors.Is(err, server.ErrClosed) {
		err = s.Err() // of a group that the test has opened
	}
	if err == nil || errors.Is(err, server.ErrClosed) || errors.Is(err, errPower) {
		return
	}
	stopped := &stoppedError{server: m.id, err: err}
	m.mu.Lock()
	m.failed = stopped
	m.mu.Unlock()
	c := m.cluster
	c.mu.Lock()
	c.failures = append(c.failures, stopped)
	c.mu.Unlock()
	if told := c.teller.tell(stopped); c.judge() && told {
		// The test has failed. Calls of its clients would go on trying, until go test's own timeout if need be.
		for _, each := range c.allClients() {
			_ = each.Close()
		}
	}
}

// judge ends the calls of the cluster when the group cannot go on, and lets new ones begin when it may again, because a server that
// had failed was stopped. It reports whether the group cannot go on.
func (c *Cluster) judge() (lost bool) {
	c.judging.Lock()
	defer c.judging.Unlock()
	why := c.lost()
	switch ended := c.able.Err() != nil; {
	case why != nil && !ended:
		c.disable(why)
	case why == nil && ended:
		c.able, c.disable = context.WithCancelCause(context.Background())
	}
	return why != nil
}

// lost says that, and why, no majority of the group's voters is left of servers that have not failed. Those that are down may be started.
func (c *Cluster) lost() error {
	all := c.all()
	var failed []*member
	var first *stoppedError
	var newest raft.Status
	for _, m := range all {
		m.mu.Lock()
		s, f := m.server, m.failed
		m.mu.Unlock()
		if f != nil {
			failed = append(failed, m)
		}
		if first == nil {
			first = f
		}
		if s == nil {
			continue
		}
		st, _ := s.GroupStatus(raft.DefaultGroup)
		if newest.Membership.IsZero() || st.MembershipIndex > newest.MembershipIndex {
			newest = st.Status
		}
	}
	for _, half := range [][]raft.Member{newest.Membership.Voters, newest.Membership.Outgoing} {
		stand := len(half)
		for _, v := range half {
			if slices.ContainsFunc(failed, func(m *member) bool { return m.id == v.ID }) {
				stand--
			}
		}
		if len(half) > 0 && stand <= len(half)/2 {
			return fmt.Errorf("%w: %s", ErrStopped, first.inShort())
		}
	}
	return nil
}

// whileAble runs a call with a context that also ends when the group cannot go on. Its error then says so, and why.
func (c *Cluster) whileAble(ctx context.Context, call func(ctx context.Context) error) error {
	c.judging.Lock()
	able := c.able
	c.judging.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(able, func() { cancel(context.Cause(able)) })()
	err := call(ctx)
	if err != nil && able.Err() != nil && !errors.Is(err, ErrStopped) { // its client was closed, for instance
		return fmt.Errorf("%w (%w)", context.Cause(able), err)
	}
	return err
}

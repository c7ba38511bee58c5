package replicatest_test

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

var (
	chaosSeeds = flag.Int("chaos.seeds", 0, "how many runs, if not the usual number")
	chaosFrom  = flag.Uint64("chaos.from", 1000, "the first run's seed")
)

// watch is the clients of a run and the oracle: what they were told must fit one history.
type watch struct {
	c       *chaos
	number  int
	closed  bool // nobody asks for anything new
	ops     []*op
	reads   []*read
	clients [3]*sessionClient
	told0   int // the largest number of commands that anybody has been told of
	tries   []*try
}

// op is one command, however often it is tried.
type op struct {
	command  string
	session  uint64
	sequence uint64
	after    int // commands that were there for sure before it was first asked for
	tries    int
	result   string // the first answer
	err      error  // the first certain refusal, of a command that is tried once
	answered bool
	over     bool // nobody tries it again
	asked    time.Duration
}

// try is one attempt, which is answered once, unless its server is gone.
type try struct {
	life    int
	server  *chaosServer
	answers int
	gone    bool
}

type read struct {
	after    int
	n        int
	sum      uint64
	answered bool
}

// sessionClient keeps a few commands under way in a session.
type sessionClient struct {
	opening  bool
	openedAt time.Duration
	session  uint64
	next     uint64
	open     []*op
}

// somebody is a server that is up, more often than not the leader, or nil.
func (w *watch) somebody() *chaosServer {
	if w.c.random.IntN(2) == 0 {
		for _, s := range w.c.servers {
			if s.member != nil && s.member.Replica().Status().Role == raft.RoleLeader {
				return s
			}
		}
	}
	s := w.c.servers[w.c.random.IntN(members)]
	if s.member == nil {
		return nil
	}
	return s
}

func (w *watch) try(s *chaosServer) (*try, func()) {
	t := &try{life: s.life, server: s}
	w.tries = append(w.tries, t)
	return t, func() {
		if t.answers++; t.answers > 1 {
			w.c.t.Errorf("one attempt was answered %d times", t.answers)
		}
	}
}

// gone forgets attempts on a server that crashes.
func (w *watch) gone(s *chaosServer) {
	kept := w.tries[:0]
	for _, t := range w.tries {
		if t.server == s && t.life == s.life {
			t.gone = true
			continue
		}
		if t.answers == 0 {
			kept = append(kept, t)
		}
	}
	w.tries = kept
}

// told checks that a server that has stopped, or has nothing to do, has answered everybody.
func (w *watch) told(s *chaosServer) {
	for _, t := range w.tries {
		if t.server == s && t.life == s.life && t.answers == 0 {
			w.c.t.Errorf("server %d never answered an attempt", s.id)
		}
	}
}

func (w *watch) command() string {
	w.number++
	switch n := w.c.random.IntN(40); {
	case n == 0:
		return fmt.Sprintf("big %d %09000d", w.number, 0)
	case n < 3:
		return fmt.Sprintf("due %d", w.number)
	case n < 5:
		return fmt.Sprintf("large %d", w.number)
	}
	return fmt.Sprintf("%d %0*d", w.number, 1+w.c.random.IntN(100), 0)
}

// tick is one moment of the clients.
func (w *watch) tick() {
	for k := range w.clients {
		if w.clients[k] == nil {
			w.clients[k] = new(sessionClient)
		}
		w.step(w.clients[k])
	}
	if w.closed {
		return
	}
	if s := w.somebody(); s != nil && w.c.random.IntN(3) == 0 {
		for range 1 + w.c.random.IntN(3) {
			o := &op{command: w.command(), after: w.told0, over: true}
			w.ops = append(w.ops, o)
			w.propose(s, o, 0)
		}
	}
	if s := w.somebody(); s != nil && w.c.random.IntN(3) == 0 {
		w.read(s)
	}
}

func (w *watch) read(s *chaosServer) {
	r := &read{after: w.told0}
	_, once := w.try(s)
	s.member.Query(nil, server.Consistency{}, answer(func(result []byte, err error) {
		once()
		if err != nil {
			return
		}
		w.c.seen["read"]++
		r.answered = true
		_, err = fmt.Sscanf(string(result), "%d %d", &r.n, &r.sum)
		require.NoError(w.c.t, err)
		if r.n < r.after {
			w.c.t.Errorf("a read saw %d commands, and %d were there before it was asked", r.n, r.after)
		}
		w.told0 = max(w.told0, r.n)
		w.reads = append(w.reads, r)
	}))
}

func (w *watch) propose(s *chaosServer, o *op, floor uint64) {
	o.tries++
	o.asked = w.c.world.Now()
	_, once := w.try(s)
	first := o.tries == 1
	s.member.Propose(server.Proposal{
		Group: 1, Kind: raft.KindCommand, Session: o.session, Sequence: o.sequence, Floor: floor, Command: []byte(o.command),
	}, answer(func(result []byte, err error) {
		once()
		if errors.Is(err, server.ErrResultTooLarge) {
			w.c.seen["too large"]++
			result, err = []byte("too large"), nil
		}
		if err == nil {
			w.answer(o, string(result), first)
			return
		}
		switch {
		case errors.Is(err, server.ErrUnknown):
			w.c.seen["unknown"]++
			return
		case errors.Is(err, server.ErrSessionExpired):
			w.c.seen["session expired"]++
			w.expired(o.session)
		case errors.Is(err, server.ErrSequence) && !o.answered && !o.over:
			// The window and the bytes of a session may be full, but below the floor it never is before it is answered.
			if strings.Contains(err.Error(), "below its floor") {
				w.c.t.Errorf("command %d of session %d was refused unanswered: %v", o.sequence, o.session, err)
			}
		}
		if o.session == 0 {
			w.c.seen["refused"]++
			o.err = err
		}
	}))
}

func (w *watch) answer(o *op, result string, first bool) {
	w.c.seen["answered"]++
	if o.answered {
		if o.result != result {
			w.c.t.Errorf("%s was answered %q and then %q", o.command, o.result, result)
		}
		return
	}
	if !first {
		w.c.seen["retry answered"]++
	}
	o.answered, o.result = true, result
	var n int
	if _, err := fmt.Sscan(result, &n); err != nil {
		return // too large
	}
	if n <= o.after {
		w.c.t.Errorf("%s became command %d, and %d were there before it was asked for", o.command, n, o.after)
	}
	w.told0 = max(w.told0, n)
}

// expired ends the clients' use of a session: what was not answered may or may not have been executed.
func (w *watch) expired(session uint64) {
	for _, c := range w.clients {
		if c != nil && c.session == session {
			for _, o := range c.open {
				o.over = true
			}
			*c = sessionClient{}
		}
	}
}

func (w *watch) step(c *sessionClient) {
	now := w.c.world.Now()
	s := w.somebody()
	if s == nil {
		return
	}
	if c.session == 0 {
		if w.closed || c.opening && now-c.openedAt < 500*time.Millisecond {
			return
		}
		c.opening, c.openedAt = true, now
		_, once := w.try(s)
		at := c.openedAt
		s.member.Propose(server.Proposal{Group: 1, Kind: raft.KindSession}, answer(func(result []byte, err error) {
			once()
			if c.openedAt != at || c.session != 0 {
				return
			}
			if c.opening = false; err == nil {
				c.session, err = server.SessionID(result)
				c.next = 1
				require.NoError(w.c.t, err)
			}
		}))
		return
	}
	for len(c.open) > 0 && c.open[0].answered {
		c.open[0].over = true
		c.open = c.open[1:]
	}
	if len(c.open) < 4 && !w.closed && w.c.random.IntN(6) == 0 {
		o := &op{command: w.command(), session: c.session, sequence: c.next, after: w.told0}
		c.next++
		c.open = append(c.open, o)
		w.ops = append(w.ops, o)
		w.propose(s, o, c.open[0].sequence)
		return
	}
	if len(c.open) == 0 {
		return
	}
	// Retries also of what was answered, and several under way at once.
	o := c.open[w.c.random.IntN(len(c.open))]
	if now-o.asked > time.Duration(w.c.random.Int64N(int64(600*time.Millisecond))) {
		w.propose(s, o, c.open[0].sequence)
	}
}

// verify holds what everybody was told against what was executed.
func (w *watch) verify() {
	t := w.c.t
	for _, s := range w.c.servers {
		w.told(s)
	}
	machine := w.c.servers[0].machine
	at := make(map[string]int)
	for k, command := range machine.Commands {
		if at[command] != 0 {
			t.Errorf("%.40s was executed as command %d and as %d", command, at[command], k+1)
		}
		at[command] = k + 1
	}
	for _, o := range w.ops {
		n := at[o.command]
		switch {
		case o.answered && n == 0:
			t.Errorf("%.40s was answered and is not there", o.command)
		case o.answered && o.result != "too large" && o.result != fmt.Sprint(n):
			t.Errorf("%.40s was answered %s, and is command %d", o.command, o.result, n)
		case o.answered && (o.result == "too large") != strings.HasPrefix(o.command, "large "):
			t.Errorf("%.40s was answered %s", o.command, o.result)
		case o.err != nil && n != 0:
			t.Errorf("%.40s was refused (%v) and is command %d", o.command, o.err, n)
		case !o.answered && !o.over:
			t.Errorf("%.40s was tried %d times and is never answered", o.command, o.tries)
		}
	}
	for _, r := range w.reads {
		if r.n > len(machine.Sums) || r.n > 0 && machine.Sums[r.n-1] != r.sum {
			t.Errorf("a read saw %d commands that are not the first %d of those that were executed", r.n, r.n)
		}
	}
	if len(machine.Commands) < 50 {
		w.c.seen["hardly anything executed"]++
	}
}

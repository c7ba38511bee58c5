package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// soakVariable is how long TestSoak runs, and soakSeedVariable which of its plans.
const (
	soakVariable     = "OARLOCK_SOAK"
	soakSeedVariable = "OARLOCK_SOAK_SEED"
)

// With OARLOCK_SOAK=5m it changes the membership of real processes for five minutes, kills them, stops them for a while, takes their
// disks, and moves leadership, in an order that a seed decides, while clients write. After each step all members are there and have
// caught up, so that there is a majority at any time: no call may fail. It is skipped without the variable.
func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv(soakVariable))
	if err != nil || long <= 0 {
		t.Skipf("%s=5m go test ./cmd/oarlock -run TestSoak -v -timeout 0", soakVariable)
	}
	seed := rand.Uint64()
	if text := os.Getenv(soakSeedVariable); text != "" {
		_, err := fmt.Sscan(text, &seed)
		require.NoError(t, err)
	}
	t.Logf("%s=%d", soakSeedVariable, seed)
	s := &soak{testCluster: startedCluster(t, 3), random: rand.New(rand.NewPCG(seed, 1)), members: []raft.ServerID{1, 2, 3}, next: 4}
	s.began = time.Now()
	s.cl = s.connect()
	s.pauses = new(pauses)
	s.pauses.begin("nothing")
	deaf, err := s.pauses.listen(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, deaf()) }()
	s.load = startLoadBy(t.Context(), []*client.Client{s.cl, s.connect()}, 8, &demoView{w: io.Discard}, s.pauses)
	t.Cleanup(s.load.stop)
	readers := s.readAnywhere()
	for steps := 1; time.Since(s.began) < long; steps++ {
		s.step()
		if steps%8 == 0 {
			s.compare()
		}
	}
	s.compare()
	require.NoError(t, s.load.finish())
	t.Logf("%d reads, each by whichever server was nearest, saw what was acknowledged before", readers())
	acked, unknown := s.load.results()
	require.Zero(t, unknown)
	_, worst := s.pauses.all()
	t.Logf("%d keys, each applied once; the longest pause was %s, in: %s (the machine had one of %s)", acked, milliseconds(worst.pause), worst.name, milliseconds(worst.noise))
}

// readAnywhere reads keys that are acknowledged, linearizably, by any server, until stop is called, which returns how many were read.
func (s *soak) readAnywhere() (stop func() int) {
	cl := s.connect(func(o *client.Options) { o.ReadFrom, o.Sessionless = client.ReadAny, true })
	ctx, cancel := context.WithCancel(s.t.Context())
	ended, read := make(chan struct{}), 0
	go func() {
		defer close(ended)
		for pause(ctx, time.Millisecond) {
			n, ok := s.load.latest()
			if !ok {
				continue
			}
			result, err := cl.Query(ctx, kv.Get(demoKey(n)))
			if ctx.Err() != nil {
				return
			}
			value, found, err2 := kv.DecodeGet(result)
			if errors.Join(err, err2) != nil || !found || !bytes.Equal(value, demoValue(n)) {
				s.t.Errorf("key %d, which was acknowledged before: found %t, %q, %v", n, found, value, errors.Join(err, err2))
				return
			}
			read++
		}
	}()
	stop = func() int {
		cancel()
		<-ended
		return read
	}
	s.t.Cleanup(func() { stop() })
	return stop
}

// latest is the key that was acknowledged last, if one was.
func (l *demoLoad) latest() (n int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.keys) == 0 {
		return 0, false
	}
	return l.keys[len(l.keys)-1], true
}

// soak is one run: who is a member, and what is done to them.
type soak struct {
	*testCluster
	random  *rand.Rand
	began   time.Time
	cl      *client.Client
	load    *demoLoad
	pauses  *pauses
	members []raft.ServerID
	next    raft.ServerID // an id is used once
}

// soakMembersMax and soakMembersMin bound the group.
const (
	soakMembersMax = 5
	soakMembersMin = 3
)

func (s *soak) step() {
	s.t.Helper()
	acts := []func(){s.add, s.remove, s.replace, s.killLeader, s.killAny, s.restartAny, s.moveLeadership, s.killInAChange}
	if canPause {
		acts = append(acts, s.pauseLeader)
	}
	acts[s.random.IntN(len(acts))]()
	for _, id := range s.members {
		s.isThere(id)
	}
	s.goOn(s.load)
	latest := s.pauses.latest()
	s.t.Logf("%7.1f s  %-44s %8s%s", time.Since(s.began).Seconds(), latest.name, milliseconds(latest.pause), noisy(latest))
}

func (s *soak) begin(format string, a ...any) { s.pauses.begin(fmt.Sprintf(format, a...)) }

func (s *soak) any() raft.ServerID { return s.members[s.random.IntN(len(s.members))] }

// isThere waits until a member runs, is a voter and has caught up.
func (s *soak) isThere(id raft.ServerID) {
	s.t.Helper()
	leader := s.leads()
	at, err := s.group(leader)
	require.NoError(s.t, err)
	eventually(s.t, fmt.Sprintf("server %d has caught up with server %d", id, leader), func() error {
		g, err := s.group(id)
		switch {
		case err != nil:
			return err
		case g.Applied < at.Commit:
			return fmt.Errorf("applied %d of %d", g.Applied, at.Commit)
		case g.Removed || g.Refusal != "":
			return fmt.Errorf("it was refused: %q", g.Refusal)
		}
		return nil
	})
}

// leads waits for a leader among the members.
func (s *soak) leads() (leader raft.ServerID) {
	s.t.Helper()
	eventually(s.t, "a member leads", func() error {
		var all error
		for _, id := range s.members {
			g, err := s.group(id)
			if err == nil && g.Role == raft.RoleLeader.String() {
				leader = id
				return nil
			}
			all = errors.Join(all, fmt.Errorf("server %d: %s, term %d, leader %d, %w", id, g.Role, g.Term, g.Leader, err))
		}
		return all
	})
	return leader
}

// made has a change made, however often it has to be asked for: a server that has just died still counts as heard of.
func (s *soak) made(changes ...raft.Change) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("the change is made: %v", changes), func() error { return s.change(s.cl, changes...) })
}

func (s *soak) newcomer() raft.Change {
	s.t.Helper()
	id := s.next
	s.next++
	s.join(id)
	return raft.Change{Kind: raft.ChangeAddVoter, Member: s.asMember(id)}
}

func (s *soak) add() {
	if len(s.members) >= soakMembersMax {
		s.remove()
		return
	}
	s.begin("add server %d", s.next)
	c := s.newcomer()
	s.made(c)
	s.members = append(s.members, c.Member.ID)
}

func (s *soak) remove() {
	if len(s.members) <= soakMembersMin {
		s.add()
		return
	}
	id := s.any()
	s.begin("remove server %d, server %d leads", id, s.leads())
	s.made(raft.Change{Kind: raft.ChangeRemove, Member: raft.Member{ID: id}})
	s.members = slices.DeleteFunc(s.members, func(o raft.ServerID) bool { return o == id })
	eventually(s.t, "it knows", func() error {
		if g, err := s.group(id); err != nil || !g.Removed {
			return fmt.Errorf("%+v, %w", g, err)
		}
		return nil
	})
	code := s.nodes[id].terminate()
	require.Zero(s.t, code)
	delete(s.nodes, id)
	require.NoError(s.t, os.RemoveAll(s.dataDir(id)))
}

func (s *soak) replace() {
	id := s.any()
	s.begin("replace server %d, whose disk is gone; server %d leads", id, s.leads())
	s.nodes[id].kill()
	require.NoError(s.t, os.RemoveAll(s.dataDir(id)))
	oarlock(s.t, "join", s.path, word(id)).succeeds(s.t)
	s.start(id)
	s.made(raft.Change{Kind: raft.ChangeReplace, Member: s.asMember(id)})
}

func (s *soak) killLeader() { s.kill(s.leads()) }
func (s *soak) killAny()    { s.kill(s.any()) }

func (s *soak) kill(id raft.ServerID) {
	s.begin("kill server %d, server %d leads", id, s.leads())
	s.nodes[id].kill()
	s.goOn(s.load)
	s.start(id)
}

func (s *soak) restartAny() {
	id := s.any()
	s.begin("restart server %d, server %d leads", id, s.leads())
	code := s.nodes[id].terminate()
	require.Zero(s.t, code)
	s.start(id)
}

func (s *soak) moveLeadership() {
	to := s.any()
	s.begin("server %d hands over to server %d", s.leads(), to)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	// One that does not take over in time leaves all as it was.
	if err := s.cl.TransferLeadership(ctx, to); !errors.Is(err, client.ErrTransferFailed) {
		require.NoError(s.t, err)
	}
}

// killInAChange kills the leader at some moment of a change that goes on.
func (s *soak) killInAChange() {
	var c raft.Change
	grown := len(s.members) < soakMembersMax
	victim := s.leads()
	if grown {
		c = s.newcomer()
	} else {
		c = raft.Change{Kind: raft.ChangeRemove, Member: raft.Member{ID: s.any()}}
	}
	s.begin("kill server %d, which leads, in: %s server %d", victim, c.Kind, c.Member.ID)
	done := make(chan error, 1)
	go func() { done <- s.change(s.cl, c) }()
	pause(s.t.Context(), time.Duration(s.random.Int64N(int64(300*time.Millisecond))))
	s.nodes[victim].kill()
	s.start(victim)
	// Whatever was answered, asking again ends with what was asked for.
	if err := <-done; err != nil {
		s.t.Logf("the change was not made at once: %v", err)
	}
	s.made(c)
	if grown {
		s.members = append(s.members, c.Member.ID)
		return
	}
	s.members = slices.DeleteFunc(s.members, func(o raft.ServerID) bool { return o == c.Member.ID })
	s.nodes[c.Member.ID].kill()
	delete(s.nodes, c.Member.ID)
	require.NoError(s.t, os.RemoveAll(s.dataDir(c.Member.ID)))
}

// pauseLeader stops a process for longer than an election takes, and lets it go on as if nothing had been. Writes go on when it does, or
// when their clients give up a connection that stands and is silent (client.Options.SilenceMax), however soon another server leads.
func (s *soak) pauseLeader() {
	id := s.leads()
	s.begin("server %d, which leads, stands still", id)
	require.NoError(s.t, s.nodes[id].cmd.Process.Signal(stopSignal))
	pause(s.t.Context(), time.Duration(s.random.Int64N(int64(3*time.Second))))
	require.NoError(s.t, s.nodes[id].cmd.Process.Signal(goOnSignal))
}

// compare has the writers rest, looks for every key that was acknowledged, and compares what the members have.
func (s *soak) compare() {
	s.t.Helper()
	goOn := s.load.rest()
	defer goOn()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	lost, err := s.load.readBack(ctx)
	require.NoError(s.t, err)
	acked, unknown := s.load.results()
	require.Zero(s.t, lost, "of %d acknowledged keys", acked)
	require.Zero(s.t, unknown, "calls that said neither yes nor no")
	var want uint64
	for k, id := range s.members {
		s.isThere(id)
		hash, keys := s.stateOf(ctx, id)
		if k == 0 {
			want = hash
		}
		require.Equal(s.t, want, hash, "servers %d and %d differ", s.members[0], id)
		require.Equal(s.t, acked, keys, "server %d", id)
	}
	s.t.Logf("%7.1f s  %d keys, the same on servers %d", time.Since(s.began).Seconds(), acked, s.members)
}

func (s *soak) stateOf(ctx context.Context, id raft.ServerID) (hash uint64, keys int) {
	s.t.Helper()
	only := s.connect(onlyAt(s.member(id)))
	result, err := only.QueryLocal(ctx, kv.HashOf())
	require.NoError(s.t, err)
	hash, keys, err = kv.DecodeHash(result)
	require.NoError(s.t, err)
	return hash, keys
}

package replicatest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/persistentlog/vfsdir"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/server/replicatest"
	"github.com/oarlock/oarlock/statemachine"
)

const (
	members        = 3
	resultBytesMax = 100
	blockBytesMax  = 20_000
)

var errDisk = errors.New("the disk failed")

// chaos is a run in which everything that may go wrong does: servers crash between any two steps, disks fail, messages
// are lost and repeated, machines and disks are slow; and clients watch what they are told.
type chaos struct {
	t      testing.TB
	seed   uint64
	random *rand.Rand
	world  *replicatest.World
	calm   bool
	kind   int // of state machine

	unappliedBytesMax int // zero: the default

	servers [members]*chaosServer
	watch   *watch
	seen    map[string]int // what happened, so that a test can ask whether anything did
}

type chaosServer struct {
	c       *chaos
	id      raft.ServerID
	log     *memlog.Log
	disk    *vfs.MemFS
	files   *persistentlog.Files
	box     *box
	machine *tape
	member  *replicatest.Member // nil: it is down
	upAt    time.Duration       // when it comes back
	life    int
	slow    map[server.Lane]bool
}

func newChaos(t testing.TB, seed uint64) *chaos {
	c := &chaos{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 2)), world: replicatest.New(seed), kind: int(seed % 3),
		seen: make(map[string]int),
	}
	c.watch = &watch{c: c}
	for k := range members {
		id := raft.ServerID(k + 1)
		c.servers[k] = &chaosServer{
			c: c, id: id, disk: vfs.NewCrashableMem(), box: new(box), slow: make(map[server.Lane]bool),
			log: memlog.New(persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: id, Store: raft.StoreID{byte(id)}}),
		}
	}
	w := c.world
	w.Loss, w.Repeat = 0.2*c.random.Float64()*c.random.Float64(), 0.1*c.random.Float64()
	w.Sent = c.sent
	w.Done = c.done
	w.StepDelay = c.stepDelay
	return c
}

func (c *chaos) chance(p float64) bool { return !c.calm && c.random.Float64() < p }

func (c *chaos) sent(m *raft.Message) {
	c.claims(m)
	size := 0
	for _, b := range m.Blocks {
		size += b.Size()
	}
	// What the tail feeds is weighed to within a few KiB (raft's weights).
	if len(m.Blocks) > 1 && size > blockBytesMax+8<<10 {
		c.t.Errorf("an append of %d bytes in %d blocks, where a message may have %d", size, len(m.Blocks), blockBytesMax)
	}
}

// claims holds what a message says of its sender's disk against that disk.
func (c *chaos) claims(m *raft.Message) {
	switch {
	case m.Type == raft.MessageVoteRequest, m.Type == raft.MessageVoteResponse && !m.Reject, m.Type == raft.MessageAppendResponse:
	default:
		return
	}
	st, err := c.servers[m.From-1].log.Load(1)
	require.NoError(c.t, err)
	if st.Hard.Term < m.Term {
		c.t.Errorf("server %d says %s in term %d, and its disk knows term %d", m.From, m.Type, m.Term, st.Hard.Term)
	}
	if m.Type == raft.MessageAppendResponse && !m.Reject && m.Match >= st.Next {
		c.t.Errorf("server %d acknowledges up to %d, and its disk ends before %d", m.From, m.Match, st.Next)
	}
}

func (c *chaos) stepDelay(id raft.ServerID, j server.Job) time.Duration {
	if c.calm {
		return 0
	}
	s := c.servers[id-1]
	if s.member != nil && s.member.Replica().Err() != nil {
		return 0 // what is queued is dropped
	}
	if c.chance(0.02) {
		s.slow[j.Lane()] = !s.slow[j.Lane()]
	}
	if s.slow[j.Lane()] {
		return time.Duration(c.random.Int64N(int64(150 * time.Millisecond)))
	}
	return 0
}

// done crashes servers at the moments at which something has happened on disk and nobody knows it yet.
func (c *chaos) done(id raft.ServerID, j server.Job) {
	c.seen[fmt.Sprintf("%T", j)]++
	p := 0.001
	switch j.(type) {
	case *server.WriteJob, *server.CompactJob, *server.CaptureJob:
		p = 0.01
	case *server.FetchJob, *server.RestoreJob:
		p = 0.1
	}
	if c.chance(p) {
		c.seen[fmt.Sprintf("crash after %T", j)]++
		c.servers[id-1].crash()
	}
}

func (s *chaosServer) start() {
	c := s.c
	fs, err := vfsdir.New(s.disk, "snapshots")
	require.NoError(c.t, err)
	s.files, err = persistentlog.OpenFiles("", persistentlog.FilesOptions{FS: fs})
	require.NoError(c.t, err)
	var machine statemachine.StateMachine
	switch c.kind {
	case 0:
		s.machine = new(tape)
		machine = s.machine
	case 1:
		m := new(batchTape)
		s.machine, machine = &m.tape, m
	case 2:
		m := &boxTape{box: s.box}
		s.machine, machine = &m.tape, m
	}
	var founders []raft.Member
	for k := range members {
		founders = append(founders, raft.Member{ID: raft.ServerID(k + 1), Address: fmt.Sprint(k + 1)})
	}
	s.life++
	s.member, err = c.world.Start(server.Options{
		Log: s.log, Snapshots: s.files, Seed: c.seed*100 + uint64(s.id)*10 + uint64(s.life), TailBytesMax: 3000,
		CommandBytesMax: 10_000, BlockBytesMax: blockBytesMax, FrameBytesMax: 40_000, UnappliedBytesMax: c.unappliedBytesMax,
		Group: server.GroupOptions{
			ID: 1, StateMachine: machine, Founders: founders, SnapshotLogBytes: 1500, SnapshotKeepBytes: 600,
			Limits: raft.GroupLimits{
				SessionsMax: 3, SessionResultsMax: 8, SessionResultBytes: 20, SessionExpiryNanos: int64(2 * time.Second),
				ResultBytesMax: resultBytesMax,
			},
		},
	})
	require.NoError(c.t, err, "server %d starts for the %dth time", s.id, s.life)
}

// crash loses what a power cut would lose.
func (s *chaosServer) crash() {
	if s.member == nil {
		return
	}
	c := s.c
	c.watch.gone(s)
	c.world.Stop(s.id)
	s.member = nil
	s.log = s.log.CrashCopy(c.random.Uint64())
	s.disk = s.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.random.IntN(101), RNG: c.random})
	s.box.crash(c.random.IntN(4) * c.random.IntN(4))
	clear(s.slow)
	s.upAt = c.world.Now() + time.Duration(c.random.Int64N(int64(time.Second)))
	alone := true
	for _, other := range c.servers {
		alone = alone && (other == s || other.member != nil)
	}
	if alone && c.random.IntN(3) > 0 {
		s.upAt += 2 * time.Second // long enough that the log goes on without it
	}
}

// tick is one moment of trouble.
func (c *chaos) tick() {
	for _, s := range c.servers {
		switch {
		case s.member == nil:
			if c.calm || c.world.Now() >= s.upAt {
				s.start()
			}
		case s.member.Replica().Err() != nil:
			// It has stopped because its disk failed, and for no other reason; and has told everybody.
			require.ErrorIs(c.t, s.member.Replica().Err(), errDisk)
			c.seen["disk failed"]++
			c.world.Run(2 * time.Second)
			c.watch.told(s)
			s.crash()
		case c.chance(0.004):
			s.crash()
		case c.chance(0.003):
			s.log.Fail(memlog.CallSave, 1+c.random.IntN(5), errDisk)
		case c.chance(0.01):
			s.member.TakeSnapshot(answer(func([]byte, error) {}))
		}
	}
	if c.chance(0.01) {
		a, b, both := raft.ServerID(1+c.random.IntN(members)), raft.ServerID(1+c.random.IntN(members)), c.random.IntN(2) == 0
		c.world.Cut = func(from, to raft.ServerID) bool { return from == a && (both || to == b) || both && to == a }
	} else if c.chance(0.03) {
		c.world.Cut = nil
	}
}

func (c *chaos) run(d time.Duration) {
	for end := c.world.Now() + d; c.world.Now() < end; {
		c.world.Run(10 * time.Millisecond)
		c.tick()
		c.watch.tick()
	}
}

// heal ends all trouble and waits until nothing more happens.
func (c *chaos) heal() {
	c.calm = true
	c.world.Loss, c.world.Repeat, c.world.Cut = 0, 0, nil
	for _, s := range c.servers {
		s.log.Fail(memlog.CallSave, 0, nil)
	}
	c.run(8 * time.Second)
	c.watch.closed = true
	c.run(8 * time.Second)
}

func playChaos(t testing.TB, seed uint64) *chaos {
	c := newChaos(t, seed)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	c.run(12 * time.Second)
	c.heal()
	c.compare()
	c.watch.verify()
	return c
}

// compare holds the servers against each other once all is quiet: machines, sessions, membership, time and chain hash
// are one stream of bytes, which has to be the same on each.
func (c *chaos) compare() {
	t := c.t
	for k, s := range c.servers {
		require.NoError(t, s.member.Replica().Err())
		st := s.member.Replica().Status()
		require.Zero(t, st.Uncommitted.Bytes, "server %d", k+1)
		require.Zero(t, st.Unapplied.Bytes, "server %d", k+1)
		require.NoError(t, st.NoSnapshot)
		require.Equal(t, c.servers[0].machine, s.machine, "server %d", k+1)
		require.Equal(t, c.servers[0].member.Replica().Status().Applied, st.Applied)
		s.member.TakeSnapshot(answer(func(_ []byte, err error) { require.NoError(t, err) }))
	}
	c.world.Run(time.Second)
	streams := make(map[raft.Index]raft.SnapshotMeta)
	last := raft.Index(0)
	for k, s := range c.servers {
		list, err := s.files.List(1)
		require.NoError(t, err)
		require.NotEmpty(t, list)
		if k == 0 {
			last = list[0].Index
		}
		require.Equal(t, last, list[0].Index)
		for _, meta := range list {
			other, ok := streams[meta.Index]
			require.True(t, !ok || other.Same(meta), "snapshots at %d differ: server %d has\n%+v, another one\n%+v", meta.Index, k+1, meta, other)
			streams[meta.Index] = meta
		}
	}
}

func TestNothingThatGoesWrongLosesOrRepeatsACommandOrShowsAnOldState(t *testing.T) {
	seeds := 15
	if testing.Short() {
		seeds = 6
	}
	if *chaosSeeds > 0 {
		seeds = *chaosSeeds
	}
	seen := make(map[string]int)
	for seed := range seeds {
		c := playChaos(t, *chaosFrom+uint64(seed))
		for what, n := range c.seen {
			seen[what] += n
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Log(seen)
	if seeds >= 15 {
		for _, what := range []string{
			"disk failed", "crash after *server.WriteJob", "crash after *server.FetchJob", "crash after *server.SaveJob",
			"crash after *server.RestoreJob", "*server.FillJob", "session expired", "retry answered", "answered", "read", "refused", "unknown",
			"too large",
		} {
			require.NotZero(t, seen[what], what)
		}
	}
}

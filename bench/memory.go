package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// memory asks a leader for more than it can do, with a follower down, a client that never reads its answers, and then a
// state machine that is slow as well, and looks at its queues and its memory all the time.
func memory(f *flag.FlagSet) func(*environment) (report, error) {
	seconds := f.Float64("seconds", 10, "how long each of the two phases is")
	bound := f.Int("bound", 16, "of each queue of the group, in MiB; the server's are four times that")
	defaults := f.Bool("default-bounds", false, "leave all bounds at their defaults; takes gigabytes for the clients")
	mutes := f.Bool("mute", true, "have a client that never reads its answers")
	heap := f.String("heap", "", "write a profile of the leader's heap, at its highest, to this file")
	return func(e *environment) (report, error) {
		if *seconds <= 0 || *bound < 8 {
			return report{}, fmt.Errorf("-seconds %g must be positive and -bound %d at least 8", *seconds, *bound)
		}
		t := trial{e: e, phase: time.Duration(*seconds * float64(time.Second)), heap: *heap, mutes: *mutes}
		return t.run(func(c *config.Config) {
			if *defaults {
				return
			}
			size := *bound << 20
			z := &c.Sizes
			z.InboxBytesMax, z.UncommittedBytesMax, z.UnappliedBytesMax, z.TailBytesMax = size, size, size, size
			z.InboxServerBytesMax, z.UncommittedServerBytesMax, z.UnappliedServerBytesMax = 4*size, 4*size, 4*size
			z.InflightBytesMax = max(size/2, z.FrameBytesMax)
		})
	}
}

// slowPause is what a command takes in the second phase.
const slowPause = 2 * time.Millisecond

// trial is one run of this part.
type trial struct {
	e     *environment
	phase time.Duration
	heap  string
	mutes bool

	config  *config.Config
	members []*memberProcess
	storm   *storm
	mute    *mute
}

// memberProcess is this program again, as one member.
type memberProcess struct {
	id      raft.ServerID
	process *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Reader
}

func startMember(path string, id raft.ServerID, heap string) (*memberProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &memberProcess{id: id, process: exec.Command(self, memberCommand, path, strconv.FormatUint(uint64(id), 10))}
	m.process.Stderr = os.Stderr
	if heap != "" {
		m.process.Env = append(os.Environ(), fmt.Sprintf("OARLOCK_BENCH_HEAP=%s.%d", heap, id))
	}
	if m.ask, err = m.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.answers = bufio.NewReader(out)
	return m, m.process.Start()
}

// tell sends a line and returns what the member says.
func (m *memberProcess) tell(line string) (s seen, err error) {
	if _, err := fmt.Fprintln(m.ask, line); err != nil {
		return s, fmt.Errorf("member %d: %w", m.id, err)
	}
	answer, err := m.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(answer, &s)
	}
	if err != nil {
		err = fmt.Errorf("member %d, asked for %s: %w", m.id, line, err)
	}
	return s, err
}

// end closes the member in good order; its exit says whether it was.
func (m *memberProcess) end() error {
	if err := m.ask.Close(); err != nil {
		return err
	}
	if err := m.process.Wait(); err != nil {
		return fmt.Errorf("member %d: %w", m.id, err)
	}
	return nil
}

func (t *trial) run(bounds func(*config.Config)) (_ report, err error) {
	dir, err := os.MkdirTemp(t.e.dir, "oarlock-bench-")
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if t.config, err = newConfig(dir, bounds); err != nil {
		return report{}, err
	}
	defer func() {
		for _, m := range t.members {
			err = errors.Join(err, m.end())
		}
	}()
	for _, m := range t.config.Members {
		if err := os.MkdirAll(filepath.Dir(t.config.DataDir(m)), 0o700); err != nil {
			return report{}, err
		}
		if err := t.config.Format(m.ID); err != nil {
			return report{}, err
		}
		process, err := startMember(t.config.Path(), m.ID, t.heap)
		if err != nil {
			return report{}, err
		}
		t.members = append(t.members, process)
	}
	if err := preload(t.config); err != nil {
		return report{}, fmt.Errorf("before the storm: %w", err)
	}
	leader, err := t.takeFollowerDown()
	if err != nil {
		return report{}, err
	}
	s, err := t.load(leader)
	if err != nil {
		return report{}, err
	}
	return t.report(s), nil
}

// takeFollowerDown ends one process the hard way and returns the leader.
func (t *trial) takeFollowerDown() (leader *memberProcess, err error) {
	follower := -1
	for i, m := range t.members {
		s, err := m.tell(askRole)
		switch {
		case err != nil:
			return nil, err
		case s.Role == raft.RoleLeader.String():
			leader = m
		default:
			follower = i
		}
	}
	if leader == nil || follower < 0 {
		return nil, errors.New("there was a leader a moment ago and now there is none")
	}
	down := t.members[follower]
	t.members = append(t.members[:follower], t.members[follower+1:]...)
	if err := down.process.Process.Kill(); err != nil {
		return nil, err
	}
	_ = down.process.Wait() // it was killed, and says so
	return leader, nil
}

// load lets both phases pass and returns what the leader has seen of them.
func (t *trial) load(leader *memberProcess) (s seen, err error) {
	if _, err := leader.tell(askWatch); err != nil {
		return s, err
	}
	z := t.config.Sizes
	proposers := 3 * (z.InboxBytesMax + z.UncommittedBytesMax + z.UnappliedBytesMax) / stormBytes
	t.e.say("  server %d leads, one follower is down, %s proposers with commands of 64 KiB, a client that never reads: %t\n", leader.id, count(float64(proposers)), t.mutes)
	if t.storm, err = startStorm(t.config, proposers); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, t.storm.end()) }()
	address := t.config.ClientAddresses()[leader.id]
	t.mute = &mute{}
	if t.mutes {
		t.mute = startMute(address, t.config.Cluster)
		defer t.mute.end()
	}
	t.storm.pass(t.e, "storm", t.phase)
	if _, err := leader.tell(askSlow + " " + slowPause.String()); err != nil {
		return s, err
	}
	t.storm.pass(t.e, "with a slow machine", t.phase)
	if s, err = leader.tell(askWatched); err != nil {
		return s, err
	}
	_, err = leader.tell(askSlow + " 0s")
	return s, err
}

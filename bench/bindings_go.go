package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// counterCommand makes a process of this program the counter of the part bindings in Go, as bindings/counter.c is it in C.
const counterCommand = "counter"

// counting is the state machine.
type counting struct{ value uint64 }

func (c *counting) Apply(e statemachine.Entry) []byte {
	c.value += binary.LittleEndian.Uint64(e.Command)
	return binary.LittleEndian.AppendUint64(nil, c.value)
}

func (c *counting) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	for i := range entries {
		results[i] = c.Apply(entries[i])
	}
}

func (c *counting) Query([]byte) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, c.value), nil
}

func (c *counting) Snapshot() (statemachine.Snapshot, error) {
	return statemachine.Encoded(binary.LittleEndian.AppendUint64(nil, c.value)), nil
}

func (c *counting) Restore(r io.Reader) error { return binary.Read(r, binary.LittleEndian, &c.value) }

// counters are three servers and what is asked of them.
type counters struct {
	servers  []*config.Server
	leader   atomic.Pointer[config.Server]
	stopping atomic.Bool
	answered atomic.Uint64
	running  sync.WaitGroup
}

func runCounter(args []string) error {
	if len(args) < 1 {
		return errors.New("a counter is started by the part bindings")
	}
	conf, err := config.Load(args[0])
	if err != nil {
		return err
	}
	c := &counters{}
	for _, m := range conf.Members {
		if err := conf.Format(m.ID); err != nil {
			return err
		}
		s, err := conf.OpenServer(m.ID, &counting{}, nil)
		if err != nil {
			return err
		}
		c.servers = append(c.servers, s)
	}
	c.findLeader()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var seconds float64
		var clients int
		var way string
		if _, err := fmt.Sscanf(lines.Text(), "run %f %d %s", &seconds, &clients, &way); err != nil {
			return err
		}
		c.run(time.Duration(seconds*float64(time.Second)), clients, way == "async")
	}
	err = lines.Err()
	for _, s := range c.servers {
		err = errors.Join(err, s.Close())
	}
	return err
}

func (c *counters) findLeader() {
	for {
		for _, s := range c.servers {
			if st, ok := s.GroupStatus(raft.DefaultGroup); ok && st.Role == raft.RoleLeader {
				c.leader.Store(s)
				return
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var one = binary.LittleEndian.AppendUint64(nil, 1)

func (c *counters) run(turn time.Duration, clients int, async bool) {
	c.findLeader()
	c.stopping.Store(false)
	c.answered.Store(0)
	begin := time.Now()
	for range clients {
		if async {
			c.running.Add(1)
			c.again()
			continue
		}
		c.running.Go(c.client)
	}
	time.Sleep(turn)
	c.stopping.Store(true)
	c.running.Wait()
	fmt.Printf("%d %.6f\n", c.answered.Load(), time.Since(begin).Seconds())
}

func (c *counters) client() {
	var mine uint64
	for !c.stopping.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, err := c.leader.Load().Propose(ctx, raft.DefaultGroup, one)
		cancel()
		if err != nil {
			c.findLeader()
			continue
		}
		mine++
	}
	c.answered.Add(mine)
}

func (c *counters) again() {
	c.leader.Load().Submit(server.Proposal{Group: raft.DefaultGroup, Kind: raft.KindCommand, Command: one}, c)
}

// Complete implements server.Completion.
func (c *counters) Complete(_ []byte, err error) {
	if err == nil {
		c.answered.Add(1)
	}
	if err != nil || c.stopping.Load() {
		c.running.Done()
		return
	}
	c.again()
}

// Command register replicates one value over three servers, in memory, in this process.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
)

// register holds one value. Each command replaces it and is answered with the old one.
type register struct{ value []byte }

func (r *register) Apply(e statemachine.Entry) []byte {
	old := r.value
	r.value = append([]byte(nil), e.Command...)
	return old
}

func (r *register) Query([]byte) ([]byte, error) { return r.value, nil }

// Snapshot captures the value. Apply never changes its bytes in place, so they need no copy.
func (r *register) Snapshot() (statemachine.Snapshot, error) {
	return statemachine.Encoded(r.value), nil
}

func (r *register) Restore(from io.Reader) (err error) {
	r.value, err = io.ReadAll(from)
	return err
}

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "register-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder

	network := memnet.New(1)
	founders := []raft.Member{{ID: 1}, {ID: 2}, {ID: 3}}
	servers := make(map[raft.ServerID]*server.Server)
	var addresses []string
	for _, m := range founders {
		s, err := open(network, founders, m.ID, fmt.Sprintf("%s/%d", dir, m.ID))
		if err != nil {
			return err
		}
		defer s.Close() //nolint:errcheck // everything is in memory
		door, err := network.Listen(m.ID)
		if err != nil {
			return err
		}
		defer door.Close() //nolint:errcheck // likewise
		go s.Serve(door)   //nolint:errcheck // ends with the door
		servers[m.ID] = s
		addresses = append(addresses, memnet.Address(m.ID))
	}
	c, err := client.New(client.Options{Servers: addresses, Dial: network.DialAddress})
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // likewise

	for _, word := range []string{"one", "two", "three"} {
		if word == "three" {
			leader := leaderOf(servers)
			fmt.Fprintf(out, "server %d leads, and goes away\n", leader)
			if err := servers[leader].Close(); err != nil {
				return err
			}
		}
		old, err := c.Propose(ctx, []byte(word))
		if err != nil {
			return err
		}
		value, err := c.Query(ctx, nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "it was %q, and is %q\n", old, value)
	}
	return nil
}

// open makes a server of its parts: where the log lives, how servers talk, what they replicate.
func open(network *memnet.Network, founders []raft.Member, id raft.ServerID, dir string) (*server.Server, error) {
	who := persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: id, Store: raft.StoreID{byte(id)}}
	snapshots, err := persistentlog.OpenFiles(dir, persistentlog.FilesOptions{})
	if err != nil {
		return nil, err
	}
	return server.Open(server.Options{
		Log:       memlog.New(who),
		Snapshots: snapshots,
		Transport: network.Transport(transport.Local{Cluster: who.Cluster, Server: id, Store: who.Store, Run: 1}),
		Group:     server.GroupOptions{ID: raft.DefaultGroup, StateMachine: new(register), Founders: founders},
	})
}

func leaderOf(servers map[raft.ServerID]*server.Server) raft.ServerID {
	for id, s := range servers {
		if st, ok := s.GroupStatus(raft.DefaultGroup); ok && st.Role == raft.RoleLeader {
			return id
		}
	}
	return 0
}

package broken

import (
	"testing"
	"testing/synctest"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server/servertest"
	"github.com/oarlock/oarlock/statemachine"
)

func TestWhoHasATicketKeepsItWhenTheLeaderCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in its bubble, waiting takes no time
		cluster := servertest.Start(t, servertest.Options{
			Machine: func(raft.ServerID) statemachine.StateMachine { return New() },
		})
		if ticket, err := cluster.Propose(t.Context(), []byte("join Ada")); err != nil || string(ticket) != "1" {
			t.Fatalf("ticket %s, %v", ticket, err)
		}
		leader, err := cluster.Leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := cluster.Crash(leader); err != nil {
			t.Fatal(err)
		}
		if ticket, err := cluster.Query(t.Context(), []byte("Ada")); err != nil || string(ticket) != "1" {
			t.Fatalf("ticket %s, %v", ticket, err)
		}
		if err := cluster.Start(leader); err != nil {
			t.Fatal(err)
		}
		if err := cluster.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

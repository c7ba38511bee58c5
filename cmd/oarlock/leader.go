package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
)

// leaderView is what leader show prints.
type leaderView struct {
	Leader  raft.ServerID `json:"leader"`
	Term    raft.Term     `json:"term"`
	Address string        `json:"address"`
}

func newLeader() *cobra.Command {
	c := &cobra.Command{
		Use: "leader", Short: "See who leads, and hand leadership over",
		Long: "Leadership moves by itself when its server fails. Handing it over before a server is stopped spares clients the wait\nfor an election.",
		Args: subcommand, RunE: showHelp,
	}
	show, transfer, down := &memberFlags{}, &memberFlags{}, &memberFlags{}
	c.AddCommand(
		show.groupCommand("show CONFIG", "Print who leads", func(g *groupCall, _ []string) error { return g.printLeader("", min(g.waits(), g.f.timeout)) }),
		transfer.groupCommand("transfer CONFIG [ID]", "Hand leadership to server ID, or to the best one", func(g *groupCall, words []string) error {
			var to raft.ServerID
			if len(words) > 0 {
				id, err := parseServer(words[0])
				if err != nil {
					return err
				}
				to = id
			}
			return g.move(func() error { return g.client.TransferLeadership(g.ctx, to) })
		}),
		down.groupCommand("step-down CONFIG", "Have the leader give leadership up, to nobody if there is no other", func(g *groupCall, _ []string) error {
			return g.move(func() error { return g.client.StepDown(g.ctx) })
		}),
	)
	return c
}

// move has leadership moved, and says who leads then.
func (g *groupCall) move(order func() error) error {
	if err := g.await(); err != nil {
		return err
	}
	err := order()
	if errors.Is(err, client.ErrUnknown) {
		return fmt.Errorf("%w; leadership may have moved: `oarlock leader show %s` says who leads", err, g.conf.Path())
	}
	if err != nil {
		return err
	}
	return g.printLeader("now ", g.f.timeout)
}

func (g *groupCall) printLeader(since string, patience time.Duration) error {
	at, _, err := g.askLeader(patience)
	if err != nil {
		return err
	}
	id := at.status.Server
	l := leaderView{Leader: id, Term: at.group.Term, Address: cmp.Or(g.conf.ClientAddresses()[id], at.group.LeaderAddress)}
	if g.f.json {
		return printJSON(l)
	}
	fmt.Printf("%sserver %d leads in term %d, at %s\n", since, l.Leader, l.Term, l.Address)
	return nil
}

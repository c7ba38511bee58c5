package main

import (
	"cmp"
	"errors"
	"fmt"

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

// leader waits until somebody leads, and returns who.
func (g *groupCall) leader() (leaderView, error) {
	for {
		if err := g.client.Barrier(g.ctx); err != nil {
			return leaderView{}, err
		}
		status, err := g.client.Status(g.ctx)
		if err != nil {
			return leaderView{}, err
		}
		for _, one := range status.Groups {
			if one.Group == raft.DefaultGroup && one.Role == raft.RoleLeader.String() {
				address := cmp.Or(g.conf.ClientAddresses()[status.Server], one.LeaderAddress)
				return leaderView{Leader: status.Server, Term: one.Term, Address: address}, nil
			}
		}
	}
}

func newLeader() *cobra.Command {
	c := &cobra.Command{
		Use: "leader", Short: "See who leads, and hand leadership over",
		Long: "Leadership moves by itself when its server fails. Handing it over before a server is stopped spares clients the wait\nfor an election.",
		Args: subcommand, RunE: showHelp,
	}
	show, transfer, down := &memberFlags{}, &memberFlags{}, &memberFlags{}
	c.AddCommand(
		show.groupCommand("show CONFIG", "Print who leads", func(g *groupCall, _ []string) error { return g.printLeader("") }),
		transfer.groupCommand("transfer CONFIG [ID]", "Hand leadership to server ID, or to the best one", func(g *groupCall, words []string) error {
			var to raft.ServerID
			if len(words) > 0 {
				id, err := parseServer(words[0])
				if err != nil {
					return err
				}
				to = id
			}
			return g.moved(g.client.TransferLeadership(g.ctx, to))
		}),
		down.groupCommand("step-down CONFIG", "Have the leader give leadership up, to nobody if there is no other", func(g *groupCall, _ []string) error {
			return g.moved(g.client.StepDown(g.ctx))
		}),
	)
	return c
}

// moved says who leads after leadership was to move.
func (g *groupCall) moved(err error) error {
	if errors.Is(err, client.ErrUnknown) {
		return fmt.Errorf("%w; leadership may have moved: `oarlock leader show %s` says who leads", err, g.conf.Path())
	}
	if err != nil {
		return err
	}
	return g.printLeader("now ")
}

func (g *groupCall) printLeader(since string) error {
	l, err := g.leader()
	if err != nil {
		return err
	}
	if g.f.json {
		return printJSON(l)
	}
	fmt.Printf("%sserver %d leads in term %d, at %s\n", since, l.Leader, l.Term, l.Address)
	return nil
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
)

// The words for a member's part, of which it may have two: a voter that is wanted as a learner.
func roleOf(m raft.Membership, one raft.Member) string {
	is := func(list []raft.Member) bool {
		return slices.ContainsFunc(list, func(o raft.Member) bool { return o.ID == one.ID && o.Store == one.Store })
	}
	role, next := "", ""
	switch {
	case is(m.Voters) && (len(m.Outgoing) == 0 || is(m.Outgoing)):
		role = "voter"
	case is(m.Voters):
		role = "voter (new)"
	case is(m.Outgoing):
		role = "voter (old)"
	case is(m.Learners):
		role = "learner"
	default:
		role = "joins"
	}
	if m.Changing() {
		switch {
		case is(m.WantedVoters):
			next = "voter"
		case is(m.WantedLearners):
			next = "learner"
		default:
			next = "leaves"
		}
	}
	if next == "" || next == role {
		return role
	}
	return role + ", then " + next
}

func stageOf(m raft.Membership) string {
	switch {
	case m.Joint():
		return "both the old and the new majority decide"
	case m.Changing():
		return "new servers are catching up"
	}
	return "settled"
}

// memberRow is one member as list prints it.
type memberRow struct {
	ID      raft.ServerID `json:"id"`
	Role    string        `json:"role"`
	Address string        `json:"address"`
	Store   string        `json:"store"`
	State   string        `json:"state"`
}

// memberTable is what list prints.
type memberTable struct {
	Index   raft.Index    `json:"index"`
	Stage   string        `json:"stage"`
	Leader  raft.ServerID `json:"leader"`
	Members []memberRow   `json:"members"`
}

func memberList() *cobra.Command {
	f := &memberFlags{}
	c := f.groupCommand("list CONFIG", "Show the members, and how each is doing", func(g *groupCall, _ []string) error {
		at, seen, err := g.askLeader(min(g.waits(), g.f.timeout))
		if err == nil {
			return g.show(at.members, at.status.Server, func(m raft.Member) string { return stateOf(&at.status, at.group, m) })
		}
		most, _ := seen.knows()
		if most == nil {
			return err
		}
		group, _ := most.group()
		if err := g.show(group.Membership, 0, seen.stateOf); err != nil {
			return err
		}
		return fmt.Errorf("%w; what is printed is what server %d knows, and may be neither committed nor the newest", err, most.id)
	})
	c.Long = "Asks the leader: what it prints is committed. If nobody leads it says so, shows what the others know, and exits with status 1.\n" +
		"The entry names the membership, for --from of the commands that change it\n" +
		"(0 is the one that the cluster was born with): they are refused if somebody else has changed it meanwhile."
	return c
}

// show prints a membership; leader and state are who leads, and how each member is doing, if that was asked.
func (g *groupCall) show(at raft.MembershipAt, leader raft.ServerID, state func(raft.Member) string) error {
	table := memberTable{Index: at.Index, Stage: stageOf(at.Membership), Leader: leader, Members: []memberRow{}}
	for _, m := range at.Membership.Members() {
		row := memberRow{ID: m.ID, Role: roleOf(at.Membership, m), Address: m.Address, Store: m.Store.String()}
		if state != nil {
			row.State = state(m)
		}
		table.Members = append(table.Members, row)
	}
	if g.f.json {
		return printJSON(table)
	}
	fmt.Printf("membership of entry %d, %s\n", table.Index, table.Stage)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	head := "SERVER\tROLE\tADDRESS\tSTORE"
	if state != nil {
		head += "\tSTATE"
	}
	fmt.Fprintln(w, head)
	for _, r := range table.Members {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s", r.ID, r.Role, r.Address, r.Store)
		if state != nil {
			fmt.Fprintf(w, "\t%s", r.State)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// stateOf says how a member is doing, in the eyes of the leader.
func stateOf(status *client.Status, g client.GroupStatus, m raft.Member) string {
	if m.ID == status.Server && m.Store == status.Store {
		return g.Role
	}
	for _, p := range g.Progress {
		if p.ID != m.ID || p.Store != m.Store {
			continue
		}
		behind := g.Next - 1 - min(p.Match, g.Next-1)
		switch {
		case p.Silent == raft.Never:
			return "not heard of by this leader"
		case p.Silent > 2*time.Second:
			return fmt.Sprintf("silent for %v", p.Silent.Round(time.Second))
		case p.State == raft.ProgressSnapshot.String():
			return "is sent a snapshot"
		case behind > 0:
			return fmt.Sprintf("follows, %d entries behind", behind)
		}
		return "follows"
	}
	return "not known"
}

// stateOf says how a member is doing where no leader can say it.
func (o *outlook) stateOf(m raft.Member) string {
	for i := range o.answers {
		g, ok := o.answers[i].group()
		switch {
		case o.answers[i].id != m.ID:
		case !ok:
			return "does not answer"
		case o.answers[i].status.Store != m.Store:
			return "runs on another store"
		default:
			return fmt.Sprintf("%s in term %d", g.Role, g.Term)
		}
	}
	return "not asked"
}

// planView is a plan as JSON.
type planView struct {
	Refused string       `json:"refused"` // why the change would be refused; empty: it would begin
	Stages  []string     `json:"stages"`
	Before  int          `json:"may_fail_before"`
	During  int          `json:"may_fail_during"`
	After   int          `json:"may_fail_after"`
	Members []planMember `json:"members"`
}

type planMember struct {
	ID      raft.ServerID `json:"id"`
	Store   string        `json:"store"`
	Address string        `json:"address"`
	MovesTo string        `json:"moves_to,omitempty"` // the address that the change gives it, if it is another one
	Now     string        `json:"now"`
	Then    string        `json:"then"`
	Heard   string        `json:"heard"`
	Behind  raft.Index    `json:"behind"`
}

// plan says what a change would do.
func (g *groupCall) plan(c raft.MembershipChange) error {
	if err := g.await(); err != nil {
		return err
	}
	var p raft.MembershipPlan
	var failed error
	_ = g.patiently(client.ErrBusy, func() error { // it stands in the plan: a leader that was elected just now has not heard of all yet
		p, failed = g.client.PlanMembership(g.ctx, c)
		return p.Refused
	})
	if failed != nil {
		return failed
	}
	view := viewOf(p)
	if g.f.json {
		if err := printJSON(view); err != nil {
			return err
		}
	} else if err := printPlan(p, view); err != nil {
		return err
	}
	if p.Refused != nil {
		return fmt.Errorf("the change would be refused: %w", p.Refused)
	}
	return nil
}

func viewOf(p raft.MembershipPlan) planView {
	v := planView{Before: p.Before, During: p.During, After: p.After, Stages: []string{}, Members: []planMember{}}
	if p.Refused != nil {
		v.Refused = p.Refused.Error()
	}
	for _, s := range p.Stages {
		v.Stages = append(v.Stages, stageWords(s))
	}
	for _, m := range p.Members {
		part := func(votes, learns bool) string {
			switch {
			case votes:
				return "voter"
			case learns:
				return "learner"
			}
			return "-"
		}
		heard := "yes"
		switch {
		case !m.Votes && !m.Learns && m.Silent == raft.Never: // `plan` has asked it itself
			heard = "new"
		case m.Heard:
		case m.Silent == raft.Never:
			heard = "never"
		default:
			heard = fmt.Sprintf("silent for %v", m.Silent.Round(time.Second))
		}
		v.Members = append(v.Members, planMember{
			ID: m.Member.ID, Store: m.Member.Store.String(), Address: m.Member.Address, MovesTo: movesTo(p, m.Member),
			Now: part(m.Votes, m.Learns), Then: part(m.WillVote, m.WillLearn), Heard: heard, Behind: m.Behind,
		})
	}
	return v
}

// movesTo is the address that a plan gives a member, if it is another one than it has.
func movesTo(p raft.MembershipPlan, m raft.Member) string {
	if len(p.Stages) == 0 {
		return ""
	}
	then, ok := p.Stages[len(p.Stages)-1].Find(m.ID, m.Store)
	if !ok || then.Address == m.Address {
		return ""
	}
	return then.Address
}

// stageWords says who decides in a stage.
func stageWords(m raft.Membership) string {
	of := func(list []raft.Member) string {
		var all []raft.ServerID
		for _, one := range list {
			all = append(all, one.ID)
		}
		return fmt.Sprintf("%d of servers %v", len(list)/2+1, all)
	}
	switch {
	case m.Joint():
		return fmt.Sprintf("both decide: %s, and %s", of(m.Voters), of(m.Outgoing))
	case m.Changing():
		for _, v := range m.WantedVoters {
			if !slices.ContainsFunc(m.Voters, func(o raft.Member) bool { return o.ID == v.ID && o.Store == v.Store }) {
				return fmt.Sprintf("new servers catch up: %s decide", of(m.Voters))
			}
		}
		return fmt.Sprintf("the change is agreed on: %s decide", of(m.Voters))
	}
	return fmt.Sprintf("settled: %s decide", of(m.Voters))
}

func printPlan(p raft.MembershipPlan, v planView) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tNOW\tTHEN\tHEARD\tBEHIND\tADDRESS\tSTORE")
	for _, m := range v.Members {
		address := m.Address
		if m.MovesTo != "" {
			address += ", then " + m.MovesTo
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", m.ID, m.Now, m.Then, m.Heard, m.Behind, address, m.Store)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("now: %s\n", stageWords(p.From.Membership))
	for i, s := range v.Stages {
		fmt.Printf("step %d: %s\n", i+1, s)
	}
	if len(p.Stages) == 0 && p.Refused == nil {
		fmt.Println("nothing to do: it is so already")
	}
	fmt.Println(spareWords("before", p.Before))
	fmt.Println(spareWords("during", p.During))
	fmt.Println(spareWords("after", p.After))
	return nil
}

func spareWords(when string, n int) string {
	switch {
	case n < 0:
		return fmt.Sprintf("%s: %d servers too few answer, and the cluster stands still", when, -n)
	case n == 0:
		return fmt.Sprintf("%s: one more failure would stop the cluster", when)
	case n == 1:
		return fmt.Sprintf("%s: one more server may fail", when)
	}
	return fmt.Sprintf("%s: %d more servers may fail", when, n)
}

func printJSON(value any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

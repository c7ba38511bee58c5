package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// askTime is how long a member is waited for that may not answer.
const askTime = 2 * time.Second

// askedMember is what a member says of itself.
type askedMember struct {
	id      raft.ServerID
	address string
	status  client.Status
	err     error
}

func (a *askedMember) group() (client.GroupStatus, bool) {
	if a.err != nil {
		return client.GroupStatus{}, false
	}
	return groupOf(a.status)
}

func (a *askedMember) leads() bool {
	g, ok := a.group()
	return ok && g.Role == raft.RoleLeader.String()
}

// groupOf is what a server says of the one group that the command runs.
func groupOf(s client.Status) (client.GroupStatus, bool) {
	for _, g := range s.Groups {
		if g.Group == raft.DefaultGroup {
			return g, true
		}
	}
	return client.GroupStatus{}, false
}

// askMembers asks servers by their addresses for clients, all at once, and tells as each answers.
func askMembers(conf *config.Config, addresses map[raft.ServerID]string, timeout time.Duration) <-chan askedMember {
	told := make(chan askedMember, len(addresses)) // has room for all, so that who stops listening holds up none
	for id, address := range addresses {
		go func() {
			a := askedMember{id: id, address: address}
			a.status, a.err = askAddress(conf, address, timeout)
			told <- a
		}()
	}
	return told
}

// outlook is what the members said; if one of them leads, there is no need to wait for the others.
type outlook struct {
	answers []askedMember
	leader  *askedMember
}

func (o *outlook) take(conf *config.Config, addresses map[raft.ServerID]string) {
	told := askMembers(conf, addresses, askTime)
	for range addresses {
		a := <-told
		o.answers = append(o.answers, a)
		if a.leads() {
			o.leader = &a
			return
		}
	}
}

// look asks the members of the file who leads, and those that are members only by what these say.
func look(conf *config.Config) *outlook {
	o := &outlook{}
	o.take(conf, conf.ClientAddresses())
	others := make(map[raft.ServerID]string)
	if known, _ := o.knows(); o.leader == nil && known != nil {
		g, _ := known.group()
		for _, m := range g.Membership.Membership.Members() {
			others[m.ID] = m.Address
		}
		if g.Leader != 0 && g.LeaderAddress != "" {
			others[g.Leader] = g.LeaderAddress
		}
		for _, a := range o.answers {
			delete(others, a.id)
		}
		o.take(conf, others)
	}
	return o
}

// knows returns the answer of the member that knows most of the group, nil if it was born at none, and the leader that one of them names.
func (o *outlook) knows() (most *askedMember, named raft.ServerID) {
	var best client.GroupStatus
	for i := range o.answers {
		g, ok := o.answers[i].group()
		if ok && g.Leader != 0 {
			named = g.Leader
		}
		if ok && g.Born && len(g.Membership.Membership.Voters) > 0 &&
			(most == nil || g.Commit > best.Commit || g.Commit == best.Commit && g.Term > best.Term) {
			most, best = &o.answers[i], g
		}
	}
	return most, named
}

// errNobodyLeads says why a command is not carried out.
type errNobodyLeads struct{ text string }

func (e *errNobodyLeads) Error() string { return e.text }

// nobody says that nobody leads, and why, as far as that can be seen from here.
func (o *outlook) nobody(path string) error {
	var silent, alive []raft.ServerID
	for _, a := range o.answers {
		if a.err != nil {
			silent = append(silent, a.id)
		}
	}
	slices.Sort(silent)
	most, named := o.knows()
	say := func(format string, args ...any) error {
		text := []string{"nobody leads"}
		if named != 0 {
			text[0] = "no leader answers"
		}
		if len(silent) > 0 {
			text = append(text, fmt.Sprintf("servers %v do not answer (`oarlock node %s ID` starts one)", silent, path))
		}
		text = append(text, fmt.Sprintf(format, args...), fmt.Sprintf("`oarlock status %s` says what each server knows", path))
		return &errNobodyLeads{strings.Join(text, "; ")}
	}
	if most == nil {
		return say("the group was born at none of the others")
	}
	g, _ := most.group()
	voters := g.Membership.Membership.Voters
	for _, v := range voters {
		for i := range o.answers {
			a := &o.answers[i]
			if its, ok := a.group(); ok && a.status.Server == v.ID && a.status.Store == v.Store && its.Fenced == "" && !its.LostData {
				alive = append(alive, v.ID)
			}
		}
	}
	slices.Sort(alive)
	switch {
	case len(alive) < len(voters)/2+1:
		return say("no majority: of the %d voters %v are well, and %d are needed", len(voters), alive, len(voters)/2+1)
	case named != 0:
		return say("server %d is taken for the leader and does not answer as such", named)
	}
	return say("a majority is there, so that an election may be under way")
}

// waits is how long nobody may lead before that is worth a word: an election takes as long.
func (g *groupCall) waits() time.Duration { return 2*g.conf.Timing.ElectionTimeoutMax + time.Second }

// find waits until somebody leads, for as long as is given, and for no longer than the caller does.
func (g *groupCall) find(patience time.Duration) (*outlook, error) {
	for began := time.Now(); ; {
		o := look(g.conf)
		if o.leader != nil {
			return o, nil
		}
		if time.Since(began) >= patience || g.ctx.Err() != nil {
			return o, o.nobody(g.conf.Path())
		}
		pause(g.ctx, askPause)
	}
}

// await is for a command that the leader has to carry out: if nobody leads, it says so, and waits as long as it may. Who is
// named by others as the leader, and is not to be asked from here, a client may reach all the same.
func (g *groupCall) await() error {
	o, err := g.find(g.waits())
	if err == nil || g.ctx.Err() != nil {
		return err
	}
	if _, named := o.knows(); named != 0 {
		return nil
	}
	fmt.Fprintf(os.Stderr, "%v; waiting, for %v in all\n", err, g.f.timeout)
	_, err = g.find(g.f.timeout)
	return err
}

// explained adds to the error of a command that ran out of time that nobody leads, if that is so.
func (g *groupCall) explained(err error) error {
	var nobody *errNobodyLeads
	if err == nil || !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &nobody) {
		return err
	}
	if o := look(g.conf); o.leader == nil {
		return fmt.Errorf("%w; %w", err, o.nobody(g.conf.Path()))
	}
	return err
}

// atLeader is what the leader says, all of it at the same server.
type atLeader struct {
	members raft.MembershipAt
	status  client.Status
	group   client.GroupStatus
}

// askLeader finds the leader and asks it for the members, which it answers only while it leads. If nobody leads, or who does is not
// reached, what the others said comes with the error.
func (g *groupCall) askLeader(patience time.Duration) (at atLeader, o *outlook, err error) {
	for began := time.Now(); ; {
		if o, err = g.find(patience - time.Since(began)); err != nil {
			return at, o, err
		}
		if at, err = g.asked(o.leader.address); err == nil {
			return at, o, nil
		}
		if time.Since(began) >= patience || g.ctx.Err() != nil {
			return at, o, fmt.Errorf("server %d takes itself for the leader, and does not show that it is: %w", o.leader.id, err)
		}
		pause(g.ctx, askPause)
	}
}

func (g *groupCall) asked(address string) (at atLeader, err error) {
	dial, err := dialer(g.conf)
	if err != nil {
		return at, err
	}
	cl, err := client.New(client.Options{Servers: []string{address}, Cluster: g.conf.Cluster, Dial: dial, Sessionless: true})
	if err != nil {
		return at, err
	}
	defer cl.Close() //nolint:errcheck // it has no session to end
	ctx, cancel := context.WithTimeout(g.ctx, g.conf.Timing.ElectionTimeoutMax+askTime)
	defer cancel()
	if at.members, err = cl.Members(ctx); err != nil {
		return at, err
	}
	if at.status, err = cl.Status(ctx); err != nil {
		return at, err
	}
	a := askedMember{status: at.status}
	if at.group, _ = a.group(); !a.leads() {
		return at, errors.New("it leads no more")
	}
	return at, nil
}

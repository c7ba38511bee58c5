package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

func newStatus() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "status CONFIG",
		Short: "Ask every member what it knows",
		Long: "Asks every member for its replicas and prints a line for each. Exit status 1 means that nobody knows a leader,\n" +
			"so that nothing can be written, or that there seem to be two histories: two servers say that they lead, or one\n" +
			"serves a store that the others do not know.",
		Args: args("CONFIG"),
		RunE: func(_ *cobra.Command, a []string) error {
			conf, err := loadConfig(a[0])
			if err != nil {
				return err
			}
			return printStatus(conf, timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for a member")
	return c
}

// askAll asks all members of the file, and returns their answers by id.
func askAll(conf *config.Config, timeout time.Duration) []askedMember {
	told := askMembers(conf, conf.ClientAddresses(), timeout)
	var answers []askedMember
	for range conf.Members {
		answers = append(answers, <-told)
	}
	slices.SortFunc(answers, func(a, b askedMember) int { return cmp.Compare(a.id, b.id) })
	return answers
}

func printStatus(conf *config.Config, timeout time.Duration) error {
	answers := askAll(conf, timeout)
	disputed := disputes(answers)
	if len(disputed) > 0 {
		// A leader that was deposed, and has not heard of it, steps down within that time.
		time.Sleep(conf.Timing.ElectionTimeoutMax)
		answers = askAll(conf, timeout)
		disputed = disputes(answers)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tADDRESS\tGROUP\tROLE\tTERM\tLEADER\tFIRST\tNEXT\tCOMMIT\tAPPLIED\tNOTE")
	silent, led := 0, false
	for _, a := range answers {
		if a.err != nil {
			silent++
			fmt.Fprintf(w, "%d\t%s\t-\t-\t-\t-\t-\t-\t-\t-\t%v\n", a.id, a.address, a.err)
			continue
		}
		for _, g := range a.status.Groups {
			led = led || g.Leader != 0
			fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", a.id, a.address, g.Group, g.Role, g.Term,
				g.Leader, g.First, g.Next, g.Commit, g.Applied, strings.Join(append(note(g), disputed[replicaKey{a.id, g.Group}]...), "; "))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if silent == len(conf.Members) {
		return fmt.Errorf("no member of %s answers (`oarlock node %s ID` runs one)", conf.Path(), conf.Path())
	}
	if !led {
		return fmt.Errorf("no member of %s knows a leader: nothing can be written, and read only what one server has", conf.Path())
	}
	if len(disputed) > 0 {
		return fmt.Errorf("the servers of %s do not agree on who they are: each NOTE says what to do", conf.Path())
	}
	return nil
}

func askStatus(conf *config.Config, m config.Member, timeout time.Duration) (client.Status, error) {
	return askAddress(conf, conf.ClientAddresses()[m.ID], timeout)
}

// probeTimeout is how long a command waits for a server that need not be there.
const probeTimeout = 2 * time.Second

// askAddress asks the one server at an address.
func askAddress(conf *config.Config, address string, timeout time.Duration) (client.Status, error) {
	dial, err := dialer(conf)
	if err != nil {
		return client.Status{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	// A client would go on trying. Here one refusal is the answer: nobody is there.
	once := func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dial(ctx, address)
		if err != nil {
			end(err)
		}
		return conn, err
	}
	c, err := client.New(client.Options{Servers: []string{address}, Cluster: conf.Cluster, Dial: once, Sessionless: true})
	if err != nil {
		return client.Status{}, err
	}
	defer c.Close() //nolint:errcheck // it has no session to end
	status, err := c.Status(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		err = cause
	}
	return status, err
}

// note says what an operator should know of a group beyond its numbers.
func note(g client.GroupStatus) (notes []string) {
	if g.Fenced != "" {
		notes = append(notes, "stopped: "+g.Fenced)
	}
	switch {
	case !g.Born && len(g.Missing) == 0:
		notes = append(notes, "joins, and no leader has added it yet (`oarlock member add` if its id is new, `oarlock member replace` if the id is that of a server that lost its disk)")
	case !g.Born:
		notes = append(notes, fmt.Sprintf("not born yet, waiting for servers %v", g.Missing))
	}
	if g.Refusal != "" {
		notes = append(notes, g.Refusal)
	}
	if g.NoSnapshot != "" {
		notes = append(notes, "waits for the leader's snapshot: "+g.NoSnapshot)
	}
	if g.StorageHung {
		notes = append(notes, "its disk hangs")
	}
	if g.Transferring {
		notes = append(notes, "hands leadership over")
	}
	if g.Membership.Membership.Changing() && g.Role == raft.RoleLeader.String() {
		notes = append(notes, "changes the membership: "+stageOf(g.Membership.Membership))
	}
	if g.Born && g.Fenced == "" && g.Leader == 0 && !g.Removed {
		notes = append(notes, "knows no leader")
	}
	return notes
}

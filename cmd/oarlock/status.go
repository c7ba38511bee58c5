package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
)

func newStatus() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "status CONFIG",
		Short: "Ask every member what it knows",
		Args:  args("CONFIG"),
		RunE: func(_ *cobra.Command, a []string) error {
			conf, err := config.Load(a[0])
			if err != nil {
				return withCode(exitUsage, err)
			}
			return printStatus(conf, timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for a member")
	return c
}

func printStatus(conf *config.Config, timeout time.Duration) error {
	type answer struct {
		status client.Status
		err    error
	}
	answers := make([]answer, len(conf.Members))
	var wg sync.WaitGroup
	for i, m := range conf.Members {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers[i].status, answers[i].err = askStatus(conf, m, timeout)
		}()
	}
	wg.Wait()
	addresses := conf.ClientAddresses()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tADDRESS\tGROUP\tROLE\tTERM\tLEADER\tFIRST\tNEXT\tCOMMIT\tAPPLIED\tNOTE")
	silent := 0
	for i, m := range conf.Members {
		if answers[i].err != nil {
			silent++
			fmt.Fprintf(w, "%d\t%s\t-\t-\t-\t-\t-\t-\t-\t-\t%v\n", m.ID, addresses[m.ID], answers[i].err)
			continue
		}
		for _, g := range answers[i].status.Groups {
			fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", m.ID, addresses[m.ID], g.Group, g.Role, g.Term,
				g.Leader, g.First, g.Next, g.Commit, g.Applied, note(g))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if silent == len(conf.Members) {
		return fmt.Errorf("no member of %s answers", conf.Path())
	}
	return nil
}

func askStatus(conf *config.Config, m config.Member, timeout time.Duration) (client.Status, error) {
	dial, err := dialer(conf)
	if err != nil {
		return client.Status{}, err
	}
	c, err := client.New(client.Options{Servers: []string{conf.ClientAddresses()[m.ID]}, Cluster: conf.Cluster, Dial: dial, Sessionless: true})
	if err != nil {
		return client.Status{}, err
	}
	defer c.Close() //nolint:errcheck // it has no session to end
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return c.Status(ctx)
}

// note says what an operator should know of a group beyond its numbers.
func note(g client.GroupStatus) string {
	var notes []string
	if g.Fenced != "" {
		notes = append(notes, "stopped: "+g.Fenced)
	}
	if !g.Born {
		notes = append(notes, fmt.Sprintf("not born yet, waiting for servers %v", g.Missing))
	}
	if g.Refusal != "" {
		notes = append(notes, g.Refusal)
	}
	return strings.Join(notes, "; ")
}

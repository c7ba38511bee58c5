// Command bench measures replicated logs side by side: oarlock, and the limit of what this machine can do. It runs on Linux.
//
//	go run . -rounds 7 -seconds 2 -bytes 128 -clients 1,16,256 -reads 1,256 -markdown ../docs/benchmarks.md
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	rounds := flag.Int("rounds", 7, "how many turns each system has")
	seconds := flag.Float64("seconds", 2, "how long a turn is")
	sizes := flag.String("bytes", "128", "sizes of commands in bytes, for instance 16,128,1024,16384")
	clients := flag.String("clients", "1,16,256", "numbers of clients that write, for instance 1,16,256,2048; empty: none")
	readers := flag.String("reads", "1,256", "numbers of clients that read; empty: none")
	systems := flag.String("systems", strings.Join(systemNames(), ","), "what to measure; ratios refer to the first")
	retain := flag.Int64("retain", 32, "how much of each log is kept, in MiB")
	dir := flag.String("dir", "", "where the files are; empty: the directory for temporary files, which must be a real disk")
	markdown := flag.String("markdown", "", "also write the table to this file, ../docs/benchmarks.md for instance")
	quiet := flag.Bool("quiet", false, "do not tell of each round")
	flag.Parse()

	loads, err := parseLoads(*sizes, *clients, *readers)
	if err != nil {
		return err
	}
	if *rounds < 1 || *seconds <= 0 || *retain < 1 {
		return fmt.Errorf("-rounds %d, -seconds %g and -retain %d must be positive", *rounds, *seconds, *retain)
	}
	p := plan{
		dir: *dir, rounds: *rounds, turn: time.Duration(*seconds * float64(time.Second)), retain: *retain << 20,
		systems: strings.Split(*systems, ","),
		say: func(format string, args ...any) {
			if !*quiet {
				fmt.Fprintf(os.Stderr, format, args...)
			}
		},
	}
	var outcomes []outcome
	for _, l := range loads {
		o, err := p.run(l)
		if err != nil {
			return err
		}
		outcomes = append(outcomes, o)
	}
	if err := writeText(os.Stdout, outcomes); err != nil {
		return err
	}
	if *markdown == "" {
		return nil
	}
	var b bytes.Buffer
	if err := writeMarkdown(&b, p, outcomes); err != nil {
		return err
	}
	return os.WriteFile(*markdown, b.Bytes(), 0o644)
}

func parseLoads(sizes, clients, readers string) ([]load, error) {
	allSizes, err := numbers("-bytes", sizes, 0)
	if err != nil {
		return nil, err
	}
	writers, err := numbers("-clients", clients, 1)
	if err != nil {
		return nil, err
	}
	queriers, err := numbers("-reads", readers, 1)
	if err != nil {
		return nil, err
	}
	var loads []load
	for _, size := range allSizes {
		for _, n := range writers {
			loads = append(loads, load{bytes: size, clients: n})
		}
	}
	for _, n := range queriers {
		loads = append(loads, load{reads: true, clients: n})
	}
	if len(loads) == 0 {
		return nil, fmt.Errorf("nothing to measure: give -clients with -bytes, or -reads")
	}
	return loads, nil
}

func numbers(flag, list string, least int) ([]int, error) {
	var all []int
	for field := range strings.SplitSeq(list, ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		n, err := strconv.Atoi(field)
		if err != nil || n < least {
			return nil, fmt.Errorf("%s: %q is not a number from %d on", flag, field, least)
		}
		all = append(all, n)
	}
	return all, nil
}

// Command tally counts words, on as many servers as its config names.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
)

// tally is the application: how often each word was proposed.
type tally struct{ counts map[string]int }

func (t *tally) Apply(e statemachine.Entry) []byte {
	word := string(e.Command)
	if !utf8.ValidString(word) {
		return []byte("no") // a refusal is a result, the same on every server; JSON could not keep such a word
	}
	t.counts[word]++
	return strconv.AppendInt(nil, int64(t.counts[word]), 10)
}

func (t *tally) Query(word []byte) ([]byte, error) {
	return strconv.AppendInt(nil, int64(t.counts[string(word)]), 10), nil
}

func (t *tally) Snapshot() (statemachine.Snapshot, error) {
	state, err := json.Marshal(t.counts) // with its keys sorted: the same on every server
	return statemachine.Encoded(state), err
}

func (t *tally) Restore(snapshot io.Reader) error {
	counts := make(map[string]int)
	if err := json.NewDecoder(snapshot).Decode(&counts); err != nil {
		return err
	}
	t.counts = counts
	return nil
}

func main() {
	if len(os.Args) < 3 || os.Args[2] == "say" && len(os.Args) < 4 {
		log.Fatal("usage: tally CONFIG ID, to run a server; tally CONFIG say WORD, to be a client")
	}
	conf, err := config.Load(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if os.Args[2] == "say" {
		say(conf, os.Args[3])
		return
	}
	id, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	s, err := conf.OpenServer(raft.ServerID(id), &tally{counts: map[string]int{}}, slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	<-s.Done() // until it is killed, or stops itself because its disk or its machine failed
	log.Fatal(s.Err())
}

func say(conf *config.Config, word string) {
	c, err := client.New(client.Options{Addresses: conf.ClientAddresses()})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	count, err := c.Propose(ctx, []byte(word)) // applied exactly once, whoever dies meanwhile
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q was said %s times\n", word, count)
	if err := c.Close(); err != nil {
		log.Fatal(err)
	}
}

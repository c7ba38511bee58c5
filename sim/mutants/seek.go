package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// find is the first seed at which a bug showed.
type find struct {
	Seed  uint64
	Check int    // the number of the rule that it broke; 0: the code panicked, or did not come to an end
	Name  string // the rule
	Text  string
}

// seedTimeout is how long one seed may take. A bug may make a run endless, which is a way to be found.
const seedTimeout = 2 * time.Minute

// seek runs seeds with a test binary, from one up to, not including, another, until one fails; nil: none did. seed is called
// with each that is begun.
func seek(binary, root string, from, to uint64, seed func()) (*find, error) {
	c := exec.Command(binary, "-test.run", "^TestSeekOfTheFirstSeedThatBreaksARule$", "-test.timeout", "0",
		"-sim.seek", strconv.FormatUint(from, 10), "-sim.runs", strconv.FormatUint(to-from, 10))
	c.Dir = filepath.Join(root, "sim")
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	at, hangs := uint64(0), false
	late := time.AfterFunc(seedTimeout, func() {
		hangs = true
		_ = c.Process.Kill() // an error says that it has ended by itself
	})
	var found *find
	ended := false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "seed":
			late.Reset(seedTimeout)
			at, err = strconv.ParseUint(rest, 10, 64)
			seed()
		case "found":
			found = new(find)
			err = json.Unmarshal([]byte(rest), found)
		case "none":
			ended = true
		}
		if err != nil {
			return nil, fmt.Errorf("%s says %q: %w", binary, lines.Text(), err)
		}
	}
	late.Stop()
	err = c.Wait()
	switch {
	case found != nil:
		return found, nil
	case hangs:
		return &find{Seed: at, Name: "it does not come to an end", Text: fmt.Sprintf("within %v", seedTimeout)}, nil
	case err != nil || !ended:
		return nil, fmt.Errorf("%s ended at seed %d: %w", binary, at, err)
	}
	return nil, nil
}

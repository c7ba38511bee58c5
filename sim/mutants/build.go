package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// builder compiles the tests of package sim, with a bug or without.
type builder struct {
	tool string // the go command
	root string // of the module
	dir  string // for what is built
}

// build returns the path of a test binary of package sim with a bug in it; nil: with none. The bug comes in by an overlay,
// so that no file of the module is touched.
func (b *builder) build(with *bug) (string, error) {
	name := "sound"
	var overlay []string
	if with != nil {
		name = with.name
		file, err := b.overlay(with)
		if err != nil {
			return "", err
		}
		overlay = []string{"-overlay", file}
	}
	binary := filepath.Join(b.dir, name+".test")
	args := append([]string{"test", "-c", "-vet=off", "-p", "1", "-ldflags", "-s -w", "-o", binary}, overlay...)
	c := exec.Command(b.tool, append(args, "./sim")...)
	c.Dir, c.Env = b.root, append(os.Environ(), "GOMAXPROCS=1")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s does not compile: %w\n%s", name, err, out)
	}
	return binary, nil
}

// overlay writes the changed files and the list of what stands for what.
func (b *builder) overlay(with *bug) (string, error) {
	changed, err := with.apply(b.root)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.dir, "_"+with.name) // which `./...` passes by, should it be left behind
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for file, text := range changed {
		to := filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(b.root, filepath.FromSlash(file))] = to
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

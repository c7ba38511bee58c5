package floorplan

import (
	"os"
	"path"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// All that is Go has to build on systems on which nobody runs the tests: every package, with all that it imports, is checked
// there as the compiler would do it, from the sources and without making anything. What needs C falls out by itself.
func TestEveryPackageCompilesForOtherSystems(t *testing.T) {
	for _, system := range []struct{ name, os, architecture string }{
		{"macOS", "darwin", "arm64"}, {"Windows", "windows", "amd64"}, {"32 bits", "linux", "386"},
	} {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel()
			checked, err := packages.Load(&packages.Config{
				Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax |
					packages.NeedTypesInfo | packages.NeedTypesSizes,
				Dir: moduleRoot(t),
				Env: append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system.os, "GOARCH="+system.architecture),
			}, packagesOf(t)...)
			if err != nil {
				t.Fatal(err)
			}
			packages.Visit(checked, nil, func(p *packages.Package) {
				for _, e := range p.Errors {
					if strings.Contains(e.Msg, "build constraints exclude all Go files") {
						continue // it is C's side
					}
					t.Errorf("%s: %v", p.PkgPath, e)
				}
			})
		})
	}
}

// packagesOf names the folders that have Go files, but for what is made: the go command's own pattern would take that along.
func packagesOf(t *testing.T) []string {
	seen := make(map[string]bool)
	var found []string
	walk(t, func(name, _ string) {
		if folder := path.Dir(name); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !seen[folder] {
			seen[folder] = true
			found = append(found, "./"+folder)
		}
	})
	if len(found) < 20 {
		t.Fatalf("%d packages were found", len(found))
	}
	return found
}

package floorplan

import (
	"os"
	"testing"

	"golang.org/x/tools/go/packages"
)

// All that is Go has to build on systems on which nobody runs the tests: every package, with all that it imports, is checked
// there as the compiler would do it, from the sources and without making anything. What needs C falls out by itself.
func TestEveryPackageCompilesForOtherSystems(t *testing.T) {
	walk(t, func(string, string) {}) // a changed folder makes a kept result void; files are read by this process itself
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
			}, "./...")
			if err != nil {
				t.Fatal(err)
			}
			if len(checked) < 20 {
				t.Fatalf("%d packages were found", len(checked))
			}
			packages.Visit(checked, nil, func(p *packages.Package) {
				for _, e := range p.Errors {
					t.Errorf("%s: %v", p.PkgPath, e)
				}
			})
		})
	}
}

// The cluster's DNS, with the five plugins it needs and none of the others that CoreDNS would bring.
package main

import (
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
)

func main() {
	// The order in which a query passes through the plugins, not the order in a Corefile.
	dnsserver.Directives = []string{"ready", "errors", "cache", "kubernetes", "template"}
	coremain.Run()
}

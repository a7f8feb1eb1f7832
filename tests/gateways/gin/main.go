// A reverse proxy with gin's logger as it comes: the access log of KrakenD's open source.
package main

import (
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/gin-gonic/gin"
)

func main() {
	listen, service := os.Args[1], os.Args[2]
	target, err := url.Parse(service)
	if err != nil {
		panic(err)
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	// As KrakenD without `forwarded_by_client_ip`.
	engine.ForwardedByClientIP = false
	engine.UseH2C = true
	engine.Use(gin.Logger())
	proxy := httputil.NewSingleHostReverseProxy(target)
	engine.NoRoute(gin.WrapH(proxy))
	if err := engine.Run(listen); err != nil {
		panic(err)
	}
}

param apim string
param logger string
param eventHubRule string
param eventHub string

resource service 'Microsoft.ApiManagement/service@2022-08-01' existing = {
  name: apim
}

resource headers 'Microsoft.ApiManagement/service/diagnostics@2022-08-01' = {
  parent: service
  name: 'azuremonitor'
  properties: {
    loggerId: logger
    sampling: { samplingType: 'fixed', percentage: 100 }
    frontend: {
      request: { headers: ['User-Agent', 'Origin', 'Content-Type', 'Mcp-Method', 'Mcp-Name', 'MCP-Protocol-Version', 'A2A-Version'] }
      response: { headers: ['Content-Type', 'Access-Control-Allow-Origin', 'Cache-Control', 'Vary', 'Location', 'Strict-Transport-Security', 'X-Debug-Token'] }
    }
    backend: { request: { headers: ['x-jwt-sub'] } }
  }
}

resource export 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: service
  name: 'tollwatch'
  properties: {
    eventHubAuthorizationRuleId: eventHubRule
    eventHubName: eventHub
    logs: [{ category: 'GatewayLogs', enabled: true }]
  }
}

"""Many devices learn together: what each learned is summed in integers, exactly.

    base     the state that all devices of a round began with; its digest names it
    delta    what one device learned since, in a file of a few KB (`dfedge.fleet.delta`)
    merge    the next base, from the base and any number of deltas (`dfedge.fleet.merge`)
    take     a device goes on from the next base (`dfedge.fleet.take`)

How the files travel is not dfedge's: USB, MQTT, HTTP, or Flower.  Sums of integers know no order,
so the next base is the same bytes whichever delta came first.
"""

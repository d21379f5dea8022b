// What a test asks of one browser page. It uses the public API of the stock livekit-client and nothing else.
const { Room, RoomEvent, Track, ConnectionCheck, CheckStatus, createLocalTracks } = globalThis.LivekitClient;
const rooms = new Map();

function enter(name, room) {
  const seen = { room, events: [] };
  const note = (event, detail) => seen.events.push({ event, detail, at: Math.round(performance.now()) });
  for (const event of ['Connected', 'Reconnecting', 'Reconnected', 'SignalReconnecting', 'ParticipantConnected', 'ParticipantDisconnected']) {
    room.on(RoomEvent[event], (who) => note(event, who?.identity));
  }
  room.on(RoomEvent.Disconnected, (reason) => note('Disconnected', reason));
  room.on(RoomEvent.TrackSubscribed, (track, publication, who) => {
    // Chromium decodes sound only for somebody who listens.
    if (track.kind === 'audio') document.body.append(track.attach());
    note('TrackSubscribed', `${who.identity}/${publication.kind}`);
  });
  room.on(RoomEvent.TrackUnsubscribed, (track, publication, who) => {
    track.detach().forEach((element) => element.remove());
    note('TrackUnsubscribed', `${who.identity}/${publication.kind}`);
  });
  room.on(RoomEvent.TrackSubscriptionFailed, (sid) => note('TrackSubscriptionFailed', sid));
  room.on(RoomEvent.TrackMuted, (publication, who) => note('TrackMuted', `${who.identity}/${publication.kind}`));
  room.on(RoomEvent.TrackUnmuted, (publication, who) => note('TrackUnmuted', `${who.identity}/${publication.kind}`));
  room.on(RoomEvent.DataReceived, (bytes, who, _, topic) =>
    note('DataReceived', `${who?.identity}/${topic ?? ''}/${new TextDecoder().decode(bytes)}`));
  rooms.set(name, seen);
  return seen;
}

const of = (name) => rooms.get(name);
const remote = (name, identity, kind) => {
  const who = of(name).room.remoteParticipants.get(identity);
  return [...(who?.trackPublications.values() ?? [])].find((publication) => publication.kind === kind);
};
const local = (name, kind) =>
  [...of(name).room.localParticipant.trackPublications.values()].find((publication) => publication.kind === kind);

async function inbound(track) {
  const report = await track?.getRTCStatsReport();
  const found = report && [...report.values()].find((entry) => entry.type === 'inbound-rtp');
  return {
    framesDecoded: found?.framesDecoded ?? 0,
    frameWidth: found?.frameWidth ?? 0,
    packetsReceived: found?.packetsReceived ?? 0,
    packetsLost: found?.packetsLost ?? 0,
    concealedSamples: found?.concealedSamples ?? 0,
    silentConcealedSamples: found?.silentConcealedSamples ?? 0,
    totalSamplesReceived: found?.totalSamplesReceived ?? 0,
    totalAudioEnergy: found?.totalAudioEnergy ?? 0,
  };
}

globalThis.aura = {
  /** Joins; resolves to how long it took in milliseconds, or to the error's public fields. */
  async join(name, url, token, options = {}) {
    const { room: roomOptions = {}, connect = {} } = options;
    const room = new Room(roomOptions);
    enter(name, room);
    const from = performance.now();
    try {
      await room.connect(url, token, connect);
      return { ok: true, ms: performance.now() - from };
    } catch (error) {
      return { ok: false, name: error.constructor.name, errorName: error.name, reason: error.reason,
        reasonName: error.reasonName, status: error.status, message: error.message };
    }
  },

  /** Publishes the fake microphone and the fake camera, kept small because encoders share the CPU with the server. */
  async publish(name, { audio = true, video = true } = {}, publishOptions = {}) {
    const tracks = await createLocalTracks({
      audio,
      video: video && { resolution: { width: 640, height: 480, frameRate: 15 } },
    });
    for (const track of tracks) {
      await of(name).room.localParticipant.publishTrack(track, publishOptions);
    }
    return tracks.length;
  },

  /** Publishes a tone and a tiny moving canvas: many of these cost next to nothing. */
  async publishTiny(name, hz) {
    const audio = new AudioContext();
    const oscillator = new OscillatorNode(audio, { frequency: hz });
    const sink = audio.createMediaStreamDestination();
    oscillator.connect(sink);
    oscillator.start();
    const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
    const paint = canvas.getContext('2d');
    let frame = 0;
    setInterval(() => {
      paint.fillStyle = `hsl(${(frame++ * 7) % 360} 80% 50%)`;
      paint.fillRect(0, 0, 64, 48);
    }, 200);
    const { localParticipant } = of(name).room;
    await localParticipant.publishTrack(sink.stream.getAudioTracks()[0], { source: Track.Source.Microphone });
    await localParticipant.publishTrack(canvas.captureStream(5).getVideoTracks()[0], {
      source: Track.Source.Camera,
      simulcast: false,
      videoCodec: 'vp8',
    });
  },

  /** Receiver statistics of one remote track; zeros as long as it isn't there. */
  stats: (name, identity, kind) => inbound(remote(name, identity, kind)?.track),

  /** What is known of one remote track. */
  publication(name, identity, kind) {
    const publication = remote(name, identity, kind);
    return publication && {
      sid: publication.trackSid,
      subscribed: publication.isSubscribed,
      muted: publication.isMuted,
      mimeType: publication.mimeType,
      hasTrack: Boolean(publication.track),
    };
  },

  subscribe: (name, identity, kind, wanted) => remote(name, identity, kind).setSubscribed(wanted),
  mute: (name, kind, muted) => (muted ? local(name, kind).mute() : local(name, kind).unmute()),
  unpublish: (name, kind) => of(name).room.localParticipant.unpublishTrack(local(name, kind).track).then(() => true),
  say: (name, text, topic, reliable) =>
    of(name).room.localParticipant.publishData(new TextEncoder().encode(text), { reliable, topic }),
  state: (name) => of(name).room.state,
  participants: (name) => [...of(name).room.remoteParticipants.keys()],
  events: (name) => of(name)?.events ?? [],
  leave: (name) => of(name).room.disconnect(),
  simulate: (name, scenario) => of(name).room.simulateScenario(scenario),

  /** One part of the SDK's own connection check. */
  async check(url, token, part) {
    const info = await new ConnectionCheck(url, token)[part]();
    return {
      name: info.name,
      status: CheckStatus[info.status],
      logs: info.logs.map((line) => `${line.level}: ${line.message}`),
    };
  },
};

// Debian's browsers, headless, each with a fresh profile, fake devices and nothing that phones home.
import { existsSync } from 'node:fs';
import puppeteer from 'puppeteer-core';
import { startSound } from './sound.mjs';

const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
];
const FIREFOX_PREFERENCES = {
  'media.navigator.streams.fake': true,
  // Only a page that may use a camera is told of loopback.
  'permissions.default.camera': 1,
  'permissions.default.microphone': 1,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.autoplay.default': 0,
  // OpenH264 would be fetched from Mozilla.
  'media.gmp-manager.updateEnabled': false,
};
const BROWSERS = {
  chromium: {
    places: [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'],
    launch: (executablePath) => puppeteer.launch({ browser: 'chrome', executablePath, args: CHROMIUM_FLAGS }),
  },
  firefox: {
    places: [process.env.FIREFOX, '/usr/bin/firefox-esr', '/usr/bin/firefox'],
    async launch(executablePath) {
      // Without a sound card Firefox stops every AudioContext; Chromium makes do.
      const sound = await startSound();
      const env = { ...process.env, ...sound.environment };
      try {
        const browser = await puppeteer.launch({
          browser: 'firefox', executablePath, env, extraPrefsFirefox: FIREFOX_PREFERENCES });
        browser.once('disconnected', sound.stop);
        return browser;
      } catch (error) {
        sound.stop();
        throw error;
      }
    },
  },
};

/** Where a browser lies; nothing where it isn't installed. */
const place = (name) => BROWSERS[name].places.find((path) => path && existsSync(path));

export async function startBrowser(name = 'chromium') {
  const path = place(name);
  if (!path) throw new Error(`no ${name} here: install it, or name it in ${name.toUpperCase()}`);
  return BROWSERS[name].launch(path);
}
